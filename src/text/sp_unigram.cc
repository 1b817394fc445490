#include "text/sp_unigram.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/sp_pieces.h"
#include "text/sp_utf8.h"

namespace tokamak {

constexpr float kUnknownPenalty = 10.0f;

SpUnigram::SpUnigram(const UnigramModel& model, const std::string& source)
    : types_(model.types), unk_(model.unk.value_or(-1)), byte_fallback_(model.byte_fallback) {
  if (model.scores.size() != model.pieces.size() || types_.size() != model.pieces.size())
    fail("{}: {} pieces, but {} scores and {} types", source, model.pieces.size(),
         model.scores.size(), types_.size());
  if (unk_ < 0 || static_cast<size_t>(unk_) >= model.pieces.size())
    fail("{}: a unigram vocabulary needs an unknown piece; found id {} of {}", source, unk_,
         model.pieces.size());
  scores_.assign(model.scores.begin(), model.scores.end());
  pieces_ = mergeable_pieces(model.pieces, types_);
  byte_ids_ = byte_piece_ids(model.pieces, types_);
  min_score_ = std::numeric_limits<float>::max();
  max_score_ = std::numeric_limits<float>::min();
  for (size_t i = 0; i < scores_.size(); ++i) {
    if (types_[i] != PieceType::kNormal) continue;
    min_score_ = std::min(min_score_, scores_[i]);
    max_score_ = std::max(max_score_, scores_[i]);
  }
}

void SpUnigram::encode(std::string_view text, std::vector<int32_t>& ids) const {
  struct Best {  // the best path that ends here
    int32_t id = -1;
    int32_t begin = -1;
    float score = 0;
  };
  const size_t size = text.size();
  if (size == 0) return;
  if (size > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    fail("a text of {} bytes is too long to be encoded at once", size);
  std::vector<Best> best(size + 1);
  const float unk_score = min_score_ - kUnknownPenalty;

  for (size_t begin = 0; begin < size;) {
    const float so_far = best[begin].score;
    const size_t char_length = announced_length(text.substr(begin));
    const auto offer = [&](size_t end, int32_t id, double score) {
      const double total = score + so_far;
      Best& b = best[end];
      if (b.begin == -1 || total > b.score)
        b = {id, static_cast<int32_t>(begin), static_cast<float>(total)};
    };
    bool has_char = false;
    uint32_t node = ByteTrie::kRoot;
    for (size_t end = begin; end < size && !pieces_.empty();) {
      if (!pieces_.step(node, static_cast<unsigned char>(text[end]))) break;
      ++end;
      const int32_t id = pieces_.value(node);
      if (id < 0 || types_[id] == PieceType::kUnused) continue;
      const size_t length = end - begin;
      // A user-defined piece gets a bonus, so that it is always taken.
      offer(end, id,
            types_[id] == PieceType::kUserDefined
                ? static_cast<double>(static_cast<float>(length) * max_score_) - 0.1
                : static_cast<double>(scores_[id]));
      if (length == char_length) has_char = true;
    }
    if (!has_char) {  // in float, as the reference sums here
      const float total = unk_score + so_far;
      Best& b = best[begin + char_length];
      if (b.begin == -1 || total > b.score) b = {unk_, static_cast<int32_t>(begin), total};
    }
    begin += char_length;
  }

  std::vector<int32_t> ends;  // of the pieces on the best path, last first
  for (int32_t end = static_cast<int32_t>(size); end > 0; end = best[end].begin)
    ends.push_back(end);
  PieceSink sink(ids, byte_ids_, unk_, byte_fallback_);
  for (auto end = ends.rbegin(); end != ends.rend(); ++end)
    sink.add(best[*end].id, text.substr(best[*end].begin, *end - best[*end].begin));
}

}  // namespace tokamak

// Unigram as the Hugging Face library runs it: Viterbi over all pieces in double precision; of
// equal scores the first found counts; runs of unknown characters are one unknown piece.
#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "text/byte_trie.h"
#include "text/sp_pieces.h"
#include "text/token_model.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

constexpr double kUnknownPenalty = 10.0;

class Unigram : public TokenModel {
 public:
  Unigram(const UnigramModel& spec, const std::string& source)
      : spec_(spec), source_(source), byte_ids_(byte_piece_ids(spec.pieces, {})) {
    std::vector<std::pair<std::string_view, int32_t>> keys;
    keys.reserve(spec.pieces.size());
    for (size_t i = 0; i < spec.pieces.size(); ++i) {
      keys.emplace_back(spec.pieces[i], static_cast<int32_t>(i));
    }
    trie_ = ByteTrie(std::move(keys));
    double lowest = std::numeric_limits<double>::infinity();
    for (const double score : spec.scores) lowest = std::min(lowest, score);
    unknown_score_ = lowest - kUnknownPenalty;
    all_bytes_ =
        std::all_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id >= 0; });
  }

  void tokenize(std::string_view text, Scratch& scratch, std::vector<int32_t>& out) const override {
    auto& path = scratch.path;  // path[i]: the best way to end at byte i
    path.assign(text.size() + 1, {0.0, -1, -1});
    for (size_t begin = 0; begin < text.size();) {
      const size_t length = unicode::char_length(static_cast<unsigned char>(text[begin]));
      if (!extend(text, begin, length, path)) {
        offer_unknown(text, begin, length, path);
      }
      begin += length;
    }
    const size_t before = out.size();
    for (size_t end = text.size(); end > 0;) end = emit(text, path, end, out);
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  }

 private:
  static void offer(UnigramNode& node, double score, int32_t id, size_t begin) {
    if (node.begin >= 0 && score <= node.score) return;
    node = {score, id, static_cast<int32_t>(begin)};
  }

  void offer_unknown(std::string_view text, size_t begin, size_t length,
                     std::vector<UnigramNode>& path) const {
    UnigramNode& node = path[begin + length];
    const double score = path[begin].score + unknown_score_;
    if (node.begin >= 0 && score <= node.score) return;
    if (!spec_.unk) {
      fail("{}: Unigram has no unknown token for '{}'", source_, text.substr(begin, length));
    }
    offer(node, score, *spec_.unk, begin);
  }

  // Offers all pieces that begin here; true when one of them is the single character.
  bool extend(std::string_view text, size_t begin, size_t length,
              std::vector<UnigramNode>& path) const {
    bool single = false;
    uint32_t node = ByteTrie::kRoot;
    if (trie_.empty()) return false;
    for (size_t i = begin; i < text.size(); ++i) {
      if (!trie_.step(node, static_cast<unsigned char>(text[i]))) break;
      const int32_t id = trie_.value(node);
      if (id < 0) continue;
      offer(path[i + 1], path[begin].score + spec_.scores[static_cast<size_t>(id)], id, begin);
      single |= i + 1 == begin + length;
    }
    return single;
  }

  // Appends, in reverse, the ids of the piece (or run of unknown ones) that ends here.
  size_t emit(std::string_view text, const std::vector<UnigramNode>& path, size_t end,
              std::vector<int32_t>& out) const {
    if (!spec_.unk || path[end].id != *spec_.unk) {
      out.push_back(path[end].id);
      return static_cast<size_t>(path[end].begin);
    }
    size_t begin = end;
    while (begin > 0 && path[begin].id == *spec_.unk) {
      begin = static_cast<size_t>(path[begin].begin);
    }
    const std::string_view unknown = text.substr(begin, end - begin);
    if (const int32_t id = whole(unknown); id >= 0) {
      out.push_back(id);
    } else if (!spec_.byte_fallback || !push_bytes(unknown, out)) {
      out.push_back(*spec_.unk);
    }
    return begin;
  }

  int32_t whole(std::string_view text) const {
    const auto [length, id] = trie_.longest_prefix(text);
    return length == text.size() ? id : -1;
  }

  bool push_bytes(std::string_view text, std::vector<int32_t>& out) const {
    if (!all_bytes_) {
      for (const char c : text) {
        if (byte_ids_[static_cast<unsigned char>(c)] < 0) return false;
      }
    }
    for (auto c = text.rbegin(); c != text.rend(); ++c) {
      out.push_back(byte_ids_[static_cast<unsigned char>(*c)]);
    }
    return true;
  }

  const UnigramModel& spec_;
  std::string source_;
  ByteTrie trie_;
  std::array<int32_t, 256> byte_ids_;
  double unknown_score_;
  bool all_bytes_;
};

}  // namespace

std::unique_ptr<TokenModel> make_unigram(const UnigramModel& spec, const std::string& source) {
  if (spec.scores.size() != spec.pieces.size()) {
    fail("{}: Unigram has {} pieces but {} scores", source, spec.pieces.size(), spec.scores.size());
  }
  if (spec.unk && (*spec.unk < 0 || static_cast<size_t>(*spec.unk) >= spec.pieces.size())) {
    fail("{}: Unigram: unk_id {} of {} pieces", source, *spec.unk, spec.pieces.size());
  }
  return std::make_unique<Unigram>(spec, source);
}

}  // namespace tokamak

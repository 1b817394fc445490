// WordPiece: the longest piece that begins the word, then the longest continuing piece, and so on;
// a word that does not come out even is unknown as a whole.
#include <algorithm>

#include "base/error.h"
#include "text/token_model.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

class WordPiece : public TokenModel {
 public:
  WordPiece(const WordPieceModel& spec, const StringIndex& index, const std::string& source)
      : spec_(spec), index_(index), source_(source) {
    for (const auto& piece : spec.pieces) longest_ = std::max(longest_, piece.size());
  }

  void tokenize(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const override {
    const size_t before = out.size();
    if (unicode::count(word) <= spec_.max_input_chars_per_word && split(word, scratch.text, out)) {
      return;
    }
    if (spec_.unk < 0) fail("{}: WordPiece has no unknown token for '{}'", source_, word);
    out.resize(before);
    out.push_back(spec_.unk);
  }

 private:
  bool split(std::string_view word, std::string& text, std::vector<int32_t>& out) const {
    for (size_t begin = 0; begin < word.size();) {
      text = begin > 0 ? spec_.continuing_subword_prefix : std::string();
      const size_t prefix = text.size();
      text += word.substr(begin, longest_);
      cut_to_character(text, word, begin, prefix);
      int32_t id = -1;
      while (text.size() > prefix && (id = index_.find(text)) < 0) {
        size_t end = text.size();
        unicode::previous(text, end);
        text.resize(end);
      }
      if (id < 0) return false;
      out.push_back(id);
      begin += text.size() - prefix;
    }
    return true;
  }

  // `text` ends with up to longest_ bytes of the word; takes half a character off its end.
  static void cut_to_character(std::string& text, std::string_view word, size_t begin,
                               size_t prefix) {
    size_t end = begin + text.size() - prefix;
    while (end < word.size() && (static_cast<unsigned char>(word[end]) & 0xC0) == 0x80) --end;
    text.resize(prefix + end - begin);
  }

  const WordPieceModel& spec_;
  const StringIndex& index_;
  std::string source_;
  size_t longest_ = 0;
};

}  // namespace

std::unique_ptr<TokenModel> make_wordpiece(const WordPieceModel& spec, const StringIndex& index,
                                           const std::string& source) {
  if (spec.unk < -1 || spec.unk >= static_cast<int64_t>(spec.pieces.size())) {
    fail("{}: WordPiece: unknown token id {} of {} pieces", source, spec.unk, spec.pieces.size());
  }
  return std::make_unique<WordPiece>(spec, index, source);
}

}  // namespace tokamak

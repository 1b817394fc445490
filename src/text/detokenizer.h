// Streaming decode: the concatenation of what push() and finish() return equals Tokenizer::decode
// of all ids. No half UTF-8 character and no provisional text is ever returned.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace tokamak {

class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true);
  std::string push(int32_t id);  // the text that has become certain; may be empty
  std::string finish();          // what was held back
 private:
  // What the decoders may still change about text that is already decoded.
  enum class Hold {
    kPartialCharacter,  // only a trailing U+FFFD, which more bytes may complete
    kByteRun,           // a run of byte tokens is text or not as a whole
    kLastToken,         // the last token is spelled otherwise when another follows
    kEverything,
  };
  static Hold hold_of(const Tokenizer& tokenizer);
  bool is_byte_token(int32_t id) const;
  size_t certain_length(const std::string& text) const;
  void forget_settled(const std::string& text, size_t held);

  const Tokenizer& tokenizer_;
  bool skip_special_;
  Hold hold_;
  std::vector<int32_t> window_;  // the ids whose text is not settled, with their left context
  size_t returned_ = 0;          // bytes of decode(window_) that were returned
};

}  // namespace tokamak

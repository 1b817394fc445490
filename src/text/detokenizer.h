// Streaming decode: the concatenation of what push() and finish() return equals Tokenizer::decode of
// all ids. No half UTF-8 character and no provisional text is ever returned.
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
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<int32_t> window_;  // the ids whose text is not settled, with their left context
  std::string settled_;          // decode of the window as already returned
};

}  // namespace tokamak

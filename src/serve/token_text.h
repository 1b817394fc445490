// How a single token reads, for lists of token probabilities.
#pragma once
#include <optional>
#include <string>

#include "base/json.h"
#include "tokamak/sampling_params.h"

namespace tokamak {
class Tokenizer;
}

namespace tokamak::serve {

struct OutputToken;

class TokenText {
 public:
  explicit TokenText(const Tokenizer* tokenizer);  // none: ids in place of text
  // The bytes of the token in the middle of a text: a part of a character is possible.
  std::string bytes(int32_t id) const;
  // The same as UTF-8; parts of characters are U+FFFD.
  std::string text(int32_t id) const;

  // {"token", "logprob", "bytes", "top_logprobs"}: an entry of chat's logprobs.content.
  Json chat_entry(const OutputToken& token) const;
  // Appends to the arrays of completions' logprobs; offset: of the token in the text.
  void append_completion_entry(Json& logprobs, const OutputToken& token, int64_t offset) const;
  static Json empty_completion_logprobs();

 private:
  const Tokenizer* tokenizer_;
  // A token of one letter: behind it, decoders that cut the text's first space leave a token's own.
  std::optional<int32_t> anchor_;
  std::string anchor_text_;
};

}  // namespace tokamak::serve

// What each token adds to a text, byte for byte: for grammars that choose among tokens.
#pragma once
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace tokamak {

struct TokenBytes {
  // By id; empty: special tokens, ids without a token, and what cannot be said.
  std::vector<std::string> inside;  // behind other tokens
  std::vector<std::string> first;   // as the first one of a text; empty vector: the same
};

// Error where a token's text depends on its neighbours.
TokenBytes token_bytes(const Tokenizer& tokenizer);

}  // namespace tokamak

// Splits a template into data and the tokens inside its tags. Fixed to the settings that chat
// templates assume: trim_blocks, lstrip_blocks, no trailing newline kept.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace tokamak::jinja {

enum class TokenType : uint8_t {
  kData,
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenType type;
  std::string text;  // decoded for strings; digits without underscores for numbers
  size_t offset;     // in the normalized source
};

// Line endings become "\n"; one at the end is dropped.
std::string normalize_source(std::string_view source);
std::vector<Token> tokenize(std::string_view normalized);
// Throws Error naming line and column of `offset`.
[[noreturn]] void syntax_error(std::string_view source, size_t offset, const std::string& message);
int line_of(std::string_view source, size_t offset);

}  // namespace tokamak::jinja

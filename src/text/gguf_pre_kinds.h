// tokenizer.ggml.pre: how a byte-level BPE vocabulary cuts text into words.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_spec.h"

namespace tokamak {

// Two of the patterns have pre-tokenizers of their own: GPT-2's and one digit at a time.
inline constexpr std::string_view kGgufGpt2Split =
    R"~('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)~";
inline constexpr std::string_view kGgufDigitSplit = R"~(\p{N})~";

struct GgufPreKind {
  std::vector<std::string_view> names;   // tokenizer.ggml.pre
  std::vector<std::string_view> splits;  // regular expressions, one after the other, isolated
  bool ignore_merges = false;
  bool add_bos = false;      // where the file does not say
  bool raw_utf8 = false;     // pieces are spelled in UTF-8 with U+2581, not byte-level
  bool drop_spaces = false;  // white space separates words and is dropped
};

// Throws Error naming `source` and listing the known kinds when `name` is none of them. An empty
// name is "default".
const GgufPreKind& gguf_pre_kind(std::string_view name, const std::string& source);
std::span<const GgufPreKind> gguf_pre_kinds();

}  // namespace tokamak

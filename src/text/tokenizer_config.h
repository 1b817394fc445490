// tokenizer_config.json: what it changes about the tokenizer that stands beside it.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/sp_vocabulary.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

struct TokenizerConfig {
  std::string source;           // for messages: the file's name
  std::string tokenizer_class;  // without a trailing "Fast"
  std::optional<bool> add_bos, add_eos;
  std::optional<bool> legacy;            // false: only the text's beginning gets the dummy prefix
  std::optional<bool> add_prefix_space;  // false: no dummy prefix at all
  std::optional<std::string> bos, eos, unk, pad;  // the tokens' texts
  std::vector<AddedToken> added_tokens;
};

// Throws Error naming `source` and the field.
TokenizerConfig parse_tokenizer_config(std::string_view text, const std::string& source);
// The file in `directory`, with added_tokens.json merged in; empty when neither exists.
TokenizerConfig load_tokenizer_config(const std::filesystem::path& directory);

// For a SentencePiece vocabulary: dummy prefix, BOS and EOS as the class adds them.
void apply(const TokenizerConfig& config, SpVocabulary& vocabulary);
// Added tokens, ids of bos/eos/unk/pad and, for the classes that build it anew, the post-processor.
void apply(const TokenizerConfig& config, TokenizerSpec& spec);

}  // namespace tokamak

// tokamak tokenize: texts to token ids and back, as JSON lines.
#pragma once
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>

namespace tokamak::cli {

struct TokenizeOptions {
  std::string model;  // whatever Tokenizer::load takes
  std::optional<std::string> input_text;
  std::string input_file;   // .txt: one text as it stands; .jsonl: one text a line
  bool decode = false;      // the inputs are arrays of ids
  bool no_special = false;  // no BOS/EOS; special tokens inside the text are plain text
};

// One line per text: a JSON array of ids, or with `decode` the text as a JSON string.
int tokenize_command(const TokenizeOptions& options, std::ostream& out);

}  // namespace tokamak::cli

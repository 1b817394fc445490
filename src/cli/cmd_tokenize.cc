// tokamak tokenize: the flags of tokenize_command().
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "cli/command.h"
#include "cli/tokenize_command.h"

namespace tokamak::cli {

Run declare_tokenize(CLI::App& app) {
  const auto options = std::make_shared<TokenizeOptions>();
  app.add_option("--model", options->model, "Directory with a tokenizer, its file, or a GGUF model")
      ->required();
  app.add_option("--input_text", options->input_text, "The text (or the array of ids)");
  app.add_option("--input_file", options->input_file,
                 ".txt: one text as it stands; .jsonl: one {\"text\": …} a line");
  app.add_flag("--decode", options->decode, "The way back: arrays of ids in, JSON strings out");
  app.add_flag("--no_special", options->no_special,
               "No BOS/EOS and no special tokens inside the text; with --decode, leave them out");
  return [options] { return tokenize_command(*options, std::cout); };
}

}  // namespace tokamak::cli

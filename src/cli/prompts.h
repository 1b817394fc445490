// The prompts of a run: texts or token ids, from flags and files.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tokamak/llm.h"

namespace tokamak::cli {

struct Prompt {
  std::string text;             // or
  std::vector<int32_t> tokens;  // when not empty
};

// .txt: a prompt a line; .jsonl: a line's "text" or "prompt", or "input_ids"; .csv: ids of one
// prompt a line; .npy: [prompts, length] ids, padded at the end with negative ids.
std::vector<Prompt> read_prompts(const std::filesystem::path& file);

}  // namespace tokamak::cli

#include "convert/side_files.h"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "formats/atomic_output.h"
#include "formats/gguf_writer.h"
#include "formats/text_files.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

void copy_files(const fs::path& from, const fs::path& to) {
  for (const std::string_view name : kTextFiles)
    if (fs::is_regular_file(from / name)) write_file(to / name, read_text(from / name));
}

// Ids that end a generation: the vocabulary's eos and eot, and the tokens of the templates that
// llama.cpp's files leave to their readers to know.
std::set<int64_t> end_ids(const GgufFile& file) {
  std::set<int64_t> ids;
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                          "tokenizer.ggml.eom_token_id"})
    if (const auto id = file.find_int(key)) ids.insert(*id);
  if (!file.is_array("tokenizer.ggml.tokens")) return ids;
  static constexpr std::string_view kEnds[] = {"<|im_end|>", "<|eot_id|>", "<end_of_turn>",
                                               "<|end|>", "<|eom_id|>"};
  const auto& tokens = file.get_strings("tokenizer.ggml.tokens");
  for (size_t i = 0; i < tokens.size(); ++i)
    for (std::string_view end : kEnds)
      if (tokens[i] == end) ids.insert(static_cast<int64_t>(i));
  return ids;
}

void write_generation_config(const GgufFile& file, const fs::path& path) {
  Json j = Json::object();
  if (const auto bos = file.find_int("tokenizer.ggml.bos_token_id")) j["bos_token_id"] = *bos;
  if (const auto pad = file.find_int("tokenizer.ggml.padding_token_id")) j["pad_token_id"] = *pad;
  const std::set<int64_t> ends = end_ids(file);
  if (ends.size() == 1)
    j["eos_token_id"] = *ends.begin();
  else if (!ends.empty())
    j["eos_token_id"] = ends;
  write_file(path, j.dump(2) + "\n");
}

}  // namespace

void write_side_files(const ModelSource& source, const fs::path& directory) {
  if (!source.gguf) return copy_files(source.directory, directory);
  const GgufFile& file = *source.gguf;
  write_gguf_vocabulary(file, directory / "tokenizer.gguf");
  if (const auto chat = file.find_string("tokenizer.chat_template"))
    write_file(directory / "chat_template.jinja", *chat);
  write_generation_config(file, directory / "generation_config.json");
}

}  // namespace tokamak

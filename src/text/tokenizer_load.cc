// Tokenizer::load: which file of a model holds the tokenizer, and what stands beside it.
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "text/sentencepiece_reader.h"
#include "text/tokenizer.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_readers.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

TokenizerSpec read_json_with_config(const fs::path& path) {
  TokenizerSpec spec = read_tokenizer_json(path);
  apply(load_tokenizer_config(path.parent_path()), spec);
  return spec;
}

bool has_gguf_magic(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, 4);
  return file && std::string_view(magic, 4) == "GGUF";
}

TokenizerSpec read_file(const fs::path& path) {
  if (has_gguf_magic(path)) return read_gguf_tokenizer(path);
  const std::string extension = path.extension().string();
  if (extension == ".json") return read_json_with_config(path);
  if (extension == ".model" || extension == ".spm") return read_sentencepiece_model(path);
  fail("{}: not a tokenizer: expected tokenizer.json, tokenizer.model or a GGUF file",
       path.string());
}

TokenizerSpec read_directory(const fs::path& directory) {
  if (const auto path = directory / "tokenizer.json"; fs::exists(path))
    return read_json_with_config(path);
  for (const char* name : {"tokenizer.model", "spiece.model"})
    if (const auto path = directory / name; fs::exists(path)) return read_sentencepiece_model(path);
  if (const auto path = directory / "tokenizer.gguf"; fs::exists(path))
    return read_gguf_tokenizer(path);
  fail("{}: no tokenizer: expected tokenizer.json, tokenizer.model, spiece.model or tokenizer.gguf",
       directory.string());
}

}  // namespace

TokenizerSpec read_sentencepiece_model(const fs::path& path) {
  const MappedFile file(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.data()), file.size());
  SpVocabulary vocabulary = parse_sentencepiece(bytes, path.string());
  const TokenizerConfig config = load_tokenizer_config(path.parent_path());
  apply(config, vocabulary);
  TokenizerSpec spec = make_spec(std::move(vocabulary), path.string());
  apply(config, spec);
  return spec;
}

Tokenizer Tokenizer::load(const fs::path& path) {
  if (!fs::exists(path)) fail("{}: no such file or directory", path.string());
  return Tokenizer(fs::is_directory(path) ? read_directory(path) : read_file(path));
}

}  // namespace tokamak

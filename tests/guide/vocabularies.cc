#include "guide/vocabularies.h"

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/json.h"
#include "text/token_bytes.h"
#include "text/tokenizer_readers.h"

namespace tokamak::testing {
namespace {

namespace fs = std::filesystem;

Vocabulary made(std::string name, Tokenizer tokenizer) {
  auto shared = std::make_shared<const Tokenizer>(std::move(tokenizer));
  TokenBytes bytes = token_bytes(*shared);
  return {std::move(name), shared,
          std::make_shared<const GuideVocabulary>(std::move(bytes.inside), std::move(bytes.first))};
}

std::vector<Vocabulary> make_all() {
  std::vector<Vocabulary> out;
  const fs::path data = fs::path(TOKAMAK_TEST_DATA) / "text";
  for (const char* name : {"bpe_o200k", "bpe_llama3", "bpe_llama2", "bpe_gemma",
                           "bpe_metaspace_first", "unigram_bytes"}) {
    const Json file = load_json(data / "tokenizers" / (std::string(name) + ".json"));
    Json tokenizer = file.at("tokenizers").at(0).at("tokenizer");
    if (file.contains("model")) tokenizer["model"] = file["model"];
    out.push_back(made(name, Tokenizer(parse_tokenizer_json(tokenizer.dump(), name))));
  }
  for (const char* name : {"bpe_bytes_identity", "unigram_bytes_identity"})
    out.push_back(
        made(name, Tokenizer::load(data / "sentencepiece" / (std::string(name) + ".model"))));
  if (const char* more = std::getenv("TOKAMAK_TEST_TOKENIZERS")) {
    std::istringstream paths(more);
    for (std::string path; std::getline(paths, path, ':');)
      out.push_back(made(fs::path(path).filename(), Tokenizer::load(path)));
  }
  return out;
}

}  // namespace

const std::vector<Vocabulary>& vocabularies() {
  static const std::vector<Vocabulary> all = make_all();
  return all;
}

}  // namespace tokamak::testing

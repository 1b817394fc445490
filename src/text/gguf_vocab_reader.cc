#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "formats/gguf.h"
#include "text/gguf_vocab.h"
#include "text/piece_type.h"
#include "text/tokenizer_readers.h"

namespace tokamak {
namespace {

std::vector<std::string> strings(const GgufFile& file, const char* key) {
  if (!file.has(key)) return {};
  const auto& views = file.get_strings(key);
  return {views.begin(), views.end()};
}

}  // namespace

GgufVocab read_gguf_vocab(const GgufFile& file) {
  GgufVocab v;
  v.source = file.path().string();
  v.model = file.get_string("tokenizer.ggml.model");
  v.pre = file.find_string("tokenizer.ggml.pre").value_or("");
  v.model_name = file.find_string("general.name").value_or("");
  v.tokens = strings(file, "tokenizer.ggml.tokens");
  v.merges = strings(file, "tokenizer.ggml.merges");
  if (file.has("tokenizer.ggml.scores"))
    for (const double score : file.get_floats("tokenizer.ggml.scores"))
      v.scores.push_back(static_cast<float>(score));
  if (file.has("tokenizer.ggml.token_type"))
    for (const int64_t type : file.get_ints("tokenizer.ggml.token_type"))
      v.types.push_back(piece_type_of(type).value_or(PieceType::kNormal));  // old files have 0
  if (file.has("tokenizer.ggml.precompiled_charsmap"))
    for (const int64_t byte : file.get_ints("tokenizer.ggml.precompiled_charsmap"))
      v.charsmap += static_cast<char>(byte);

  v.bos = file.find_int("tokenizer.ggml.bos_token_id");
  v.eos = file.find_int("tokenizer.ggml.eos_token_id");
  v.unk = file.find_int("tokenizer.ggml.unknown_token_id");
  v.sep = file.find_int("tokenizer.ggml.seperator_token_id");  // the format spells it so
  v.pad = file.find_int("tokenizer.ggml.padding_token_id");
  v.cls = file.find_int("tokenizer.ggml.cls_token_id");
  v.mask = file.find_int("tokenizer.ggml.mask_token_id");
  v.add_bos = file.find_bool("tokenizer.ggml.add_bos_token");
  v.add_eos = file.find_bool("tokenizer.ggml.add_eos_token");
  v.add_sep = file.find_bool("tokenizer.ggml.add_sep_token");
  v.add_space_prefix = file.find_bool("tokenizer.ggml.add_space_prefix");
  v.remove_extra_whitespaces = file.find_bool("tokenizer.ggml.remove_extra_whitespaces");
  v.lowercase = file.find_bool("tokenizer.ggml.normalizer.lowercase");
  v.strip_accents = file.find_bool("tokenizer.ggml.normalizer.strip_accents");
  return v;
}

TokenizerSpec read_gguf_tokenizer(const std::filesystem::path& path) {
  return make_spec(read_gguf_vocab(GgufFile(path)));
}

}  // namespace tokamak

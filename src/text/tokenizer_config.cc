#include "text/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "text/token_model.h"

namespace tokamak {
namespace {

std::optional<bool> flag(const Json& json, const char* key, const std::string& source) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return {};
  if (!it->is_boolean()) fail("{}: {} is {}, expected true or false", source, key, it->dump());
  return it->get<bool>();
}

// A token is given as its text or as an object with "content".
std::optional<std::string> token_text(const Json& json, const char* key,
                                      const std::string& source) {
  auto it = json.find(key);
  if (it == json.end() || it->is_null()) return {};
  const Json* value = &*it;
  if (value->is_object() && value->contains("content")) value = &(*value)["content"];
  if (!value->is_string()) fail("{}: {} is {}, expected a text", source, key, it->dump());
  return value->get<std::string>();
}

int32_t parse_id(const std::string& text, const std::string& source) {
  if (text.empty() || text.size() > 9 ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    fail("{}: added_tokens_decoder has the key '{}', expected a token id", source, text);
  return static_cast<int32_t>(std::stol(text));
}

void read_added_tokens(const Json& json, TokenizerConfig& config) {
  const auto it = json.find("added_tokens_decoder");
  if (it == json.end() || !it->is_object()) return;
  for (const auto& [key, value] : it->items()) {
    if (!value.is_object())
      fail("{}: added_tokens_decoder['{}'] is {}, expected an object", config.source, key,
           value.dump());
    AddedToken token;
    token.id = parse_id(key, config.source);
    token.content = token_text(value, "content", config.source).value_or("");
    token.single_word = flag(value, "single_word", config.source).value_or(false);
    token.lstrip = flag(value, "lstrip", config.source).value_or(false);
    token.rstrip = flag(value, "rstrip", config.source).value_or(false);
    token.special = flag(value, "special", config.source).value_or(false);
    token.normalized = flag(value, "normalized", config.source).value_or(!token.special);
    config.added_tokens.push_back(std::move(token));
  }
}

// added_tokens.json: {text: id}, all plain added tokens.
void merge_added_tokens_file(const std::filesystem::path& path, TokenizerConfig& config) {
  const Json json = load_json(path);
  if (!json.is_object()) fail("{}: expected an object of token texts and ids", path.string());
  for (const auto& [text, id] : json.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > 999'999'999)
      fail("{}: the id of '{}' is {}", path.string(), text, id.dump());
    AddedToken token;
    token.id = id.get<int32_t>();
    token.content = text;
    const auto same = [&](const AddedToken& t) { return t.id == token.id; };
    auto& tokens = config.added_tokens;
    if (std::none_of(tokens.begin(), tokens.end(), same)) tokens.push_back(std::move(token));
  }
}

// These classes build the post-processor from add_bos_token and add_eos_token.
bool frames_by_flags(const std::string& tokenizer_class) {
  constexpr std::array kClasses = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer",
                                   "CohereTokenizer"};
  return std::find(kClasses.begin(), kClasses.end(), tokenizer_class) != kClasses.end();
}

// These shift the vocabulary's ids: a bare tokenizer.model does not say how.
bool shifts_ids(const std::string& tokenizer_class) {
  constexpr std::array kClasses = {
      "XLMRobertaTokenizer", "CamembertTokenizer", "MBartTokenizer",
      "MBart50Tokenizer",    "BarthezTokenizer",   "NllbTokenizer",
      "XGLMTokenizer",       "PegasusTokenizer",   "DebertaV2Tokenizer"};
  return std::find(kClasses.begin(), kClasses.end(), tokenizer_class) != kClasses.end();
}

bool is_t5_like(const std::string& tokenizer_class) {
  return tokenizer_class == "T5Tokenizer" || tokenizer_class == "MT5Tokenizer" ||
         tokenizer_class == "ByT5Tokenizer";
}

std::optional<int32_t> find_token(const TokenizerSpec& spec, const std::string& text) {
  for (const AddedToken& token : spec.added_tokens)
    if (token.content == text) return token.id;
  const auto& pieces = pieces_of(spec.model);
  const auto it = std::find(pieces.begin(), pieces.end(), text);
  if (it == pieces.end()) return {};
  return static_cast<int32_t>(it - pieces.begin());
}

void add_or_replace(const AddedToken& token, TokenizerSpec& spec) {
  for (AddedToken& present : spec.added_tokens) {
    if (present.id == token.id || present.content == token.content) {
      const int32_t id = present.id;
      present = token;
      present.id = id;
      return;
    }
  }
  spec.added_tokens.push_back(token);
}

}  // namespace

TokenizerConfig parse_tokenizer_config(std::string_view text, const std::string& source) {
  const Json json = parse_json(text, source);
  if (!json.is_object()) fail("{}: expected an object", source);
  TokenizerConfig config;
  config.source = source;
  if (const auto it = json.find("tokenizer_class"); it != json.end() && it->is_string()) {
    config.tokenizer_class = it->get<std::string>();
    if (config.tokenizer_class.ends_with("Fast"))
      config.tokenizer_class.resize(config.tokenizer_class.size() - 4);
  }
  config.add_bos = flag(json, "add_bos_token", source);
  config.add_eos = flag(json, "add_eos_token", source);
  config.legacy = flag(json, "legacy", source);
  config.add_prefix_space = flag(json, "add_prefix_space", source);
  config.bos = token_text(json, "bos_token", source);
  config.eos = token_text(json, "eos_token", source);
  config.unk = token_text(json, "unk_token", source);
  config.pad = token_text(json, "pad_token", source);
  read_added_tokens(json, config);
  return config;
}

TokenizerConfig load_tokenizer_config(const std::filesystem::path& directory) {
  TokenizerConfig config;
  const auto path = directory / "tokenizer_config.json";
  if (std::filesystem::exists(path))
    config = parse_tokenizer_config(read_text(path), path.string());
  if (const auto added = directory / "added_tokens.json"; std::filesystem::exists(added))
    merge_added_tokens_file(added, config);
  return config;
}

void apply(const TokenizerConfig& config, SpVocabulary& v) {
  if (shifts_ids(config.tokenizer_class))
    fail("{}: a {} renumbers its SentencePiece vocabulary; its tokenizer.json is needed",
         config.source, config.tokenizer_class);
  if (config.legacy) v.prefix_after_special = *config.legacy;
  if (config.add_prefix_space && !*config.add_prefix_space) v.add_dummy_prefix = false;
  if (is_t5_like(config.tokenizer_class)) {
    v.add_bos = false;
    v.add_eos = true;
  } else if (frames_by_flags(config.tokenizer_class)) {
    v.add_bos = true;
    v.add_eos = false;
  }
  v.add_bos = config.add_bos.value_or(v.add_bos);
  v.add_eos = config.add_eos.value_or(v.add_eos);
}

void apply(const TokenizerConfig& config, TokenizerSpec& spec) {
  for (const AddedToken& token : config.added_tokens) add_or_replace(token, spec);
  const auto set = [&](const std::optional<std::string>& text, std::optional<int32_t>& id) {
    if (!text) return;
    if (const auto found = find_token(spec, *text)) id = found;
  };
  set(config.bos, spec.bos);
  set(config.eos, spec.eos);
  set(config.unk, spec.unk);
  set(config.pad, spec.pad);

  if (!frames_by_flags(config.tokenizer_class) || (!config.add_bos && !config.add_eos)) return;
  TemplatePostProcessor frame;
  if (config.add_bos.value_or(true) && spec.bos) frame.items.push_back({false, {*spec.bos}});
  frame.items.push_back({true, {}});
  if (config.add_eos.value_or(false) && spec.eos) frame.items.push_back({false, {*spec.eos}});
  spec.post_processors = {std::move(frame)};
}

}  // namespace tokamak

#include "text/gguf_vocab.h"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "base/error.h"
#include "text/gguf_pre_kinds.h"
#include "text/sp_pieces.h"
#include "text/sp_utf8.h"
#include "text/sp_vocabulary.h"

namespace tokamak {
namespace {

// A special token's id: the file's, else the model kind's default; none when out of the vocabulary.
std::optional<int32_t> special_id(const std::optional<int64_t>& id, int32_t fallback,
                                  const GgufVocab& v) {
  const int64_t value = id.value_or(fallback);
  if (value < 0 || value >= static_cast<int64_t>(v.tokens.size())) return {};
  return static_cast<int32_t>(value);
}

void check(GgufVocab& v) {
  const size_t n = v.tokens.size();
  if (n == 0) fail("{}: tokenizer.ggml.tokens is missing or empty", v.source);
  if (v.scores.empty()) v.scores.assign(n, 0.0f);
  if (v.types.empty()) v.types.assign(n, PieceType::kNormal);
  if (v.scores.size() < n || v.types.size() < n)
    fail("{}: {} tokens, but {} scores and {} token types", v.source, n, v.scores.size(),
         v.types.size());
  v.scores.resize(n);
  v.types.resize(n);
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

// Phi-3's special tokens, all but these three, take the white space behind them along.
bool strips_behind(const GgufVocab& v, const std::string& token) {
  std::string name = v.model_name;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.find("phi-3") == std::string::npos && name.find("phi3") == std::string::npos)
    return false;
  return token != "<unk>" && token != "<s>" && token != "<|endoftext|>";
}

// Control tokens are special; user-defined ones are plain text that is always one token.
std::vector<AddedToken> added_tokens(const GgufVocab& v, bool user_defined) {
  std::vector<AddedToken> added;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const bool control = v.types[i] == PieceType::kControl;
    if (v.tokens[i].empty() ||
        !(control || (user_defined && v.types[i] == PieceType::kUserDefined)))
      continue;
    AddedToken token;
    token.id = static_cast<int32_t>(i);
    token.content = v.tokens[i];
    token.normalized = false;
    token.special = control;
    token.rstrip = control && strips_behind(v, token.content);
    const std::string_view pre = v.pre;
    token.lstrip = token.content == "<mask>" && pre.starts_with("jina-v2-");
    added.push_back(std::move(token));
  }
  return added;
}

TemplatePostProcessor frame(std::optional<int32_t> before, std::optional<int32_t> after) {
  TemplatePostProcessor post;
  if (before) post.items.push_back({false, {*before}});
  post.items.push_back({true, {}});
  if (after) post.items.push_back({false, {*after}});
  return post;
}

// ---- llama and t5: SentencePiece ----------------------------------------------------------------
TokenizerSpec make_sentencepiece(GgufVocab v, bool unigram) {
  SpVocabulary sp;
  sp.kind = unigram ? SpVocabulary::Kind::kUnigram : SpVocabulary::Kind::kBpe;
  sp.bos = special_id(v.bos, unigram ? -1 : 1, v);
  sp.eos = special_id(v.eos, unigram ? 1 : 2, v);
  sp.unk = special_id(v.unk, unigram ? 2 : 0, v);
  sp.pad = special_id(v.pad, unigram ? 0 : -1, v);
  sp.add_bos = v.add_bos.value_or(!unigram);
  sp.add_eos = v.add_eos.value_or(unigram);
  sp.charsmap = v.charsmap;
  sp.add_dummy_prefix = v.add_space_prefix.value_or(!unigram);
  sp.remove_extra_whitespaces = unigram && v.remove_extra_whitespaces.value_or(false);
  auto added = added_tokens(v, false);
  // Files spell the spaces of user-defined pieces as spaces.
  for (size_t i = 0; i < v.tokens.size(); ++i)
    if (v.types[i] == PieceType::kUserDefined)
      v.tokens[i] = replaced(std::move(v.tokens[i]), " ", kSpaceSymbol);
  const auto bytes = byte_piece_ids(v.tokens, v.types);
  sp.byte_fallback = std::find(bytes.begin(), bytes.end(), -1) == bytes.end();
  if (!sp.byte_fallback)
    std::replace(v.types.begin(), v.types.end(), PieceType::kByte, PieceType::kUnused);
  sp.pieces = std::move(v.tokens);
  sp.scores = std::move(v.scores);
  sp.types = std::move(v.types);
  TokenizerSpec spec = make_spec(std::move(sp), v.source);
  spec.added_tokens = std::move(added);
  return spec;
}

// ---- gpt2 and its relatives: BPE by merges ------------------------------------------------------
std::vector<BpeMerge> read_merges(const GgufVocab& v) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < v.tokens.size(); ++i) ids[v.tokens[i]] = static_cast<int32_t>(i);
  const auto find = [&](std::string_view piece, size_t merge) {
    const auto it = ids.find(piece);
    if (it == ids.end())
      fail("{}: tokenizer.ggml.merges[{}] is '{}', but '{}' is not a token", v.source, merge,
           v.merges[merge], piece);
    return it->second;
  };
  std::vector<BpeMerge> merges;
  merges.reserve(v.merges.size());
  std::string result;
  for (size_t i = 0; i < v.merges.size(); ++i) {
    const std::string_view merge = v.merges[i];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos)
      fail("{}: tokenizer.ggml.merges[{}] is '{}', expected two tokens and a space between them",
           v.source, i, merge);
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    result.assign(left).append(right);
    merges.push_back({find(left, i), find(right, i), find(result, i)});
  }
  return merges;
}

void add_split(std::string_view pattern, TokenizerSpec& spec) {
  if (pattern == kGgufDigitSplit) {
    spec.pre_tokenizers.emplace_back(DigitsPreTokenizer{true});
    return;
  }
  SplitPreTokenizer split;
  split.pattern = {std::string(pattern), true};
  spec.pre_tokenizers.emplace_back(std::move(split));
}

void set_byte_level_steps(const GgufPreKind& kind, TokenizerSpec& spec) {
  // The pattern of GPT-2 is what the byte-level step does by itself.
  const bool ends_with_gpt2 = kind.splits.back() == kGgufGpt2Split;
  for (size_t i = 0; i + ends_with_gpt2 < kind.splits.size(); ++i) add_split(kind.splits[i], spec);
  spec.pre_tokenizers.emplace_back(ByteLevelPreTokenizer{false, ends_with_gpt2});
  spec.decoders.emplace_back(ByteLevelDecoder{});
}

// Spaces become U+2581 and the words are whole lines; or white space only separates words.
void set_raw_utf8_steps(const GgufPreKind& kind, const GgufVocab& v, TokenizerSpec& spec) {
  if (kind.drop_spaces) {
    if (v.lowercase.value_or(false)) spec.normalizers.emplace_back(LowercaseNormalizer{});
    spec.pre_tokenizers.emplace_back(WhitespaceSplitPreTokenizer{});
    return;
  }
  spec.normalizers.emplace_back(ReplaceNormalizer{{" ", false}, std::string(kSpaceSymbol)});
  for (const std::string_view pattern : kind.splits) add_split(pattern, spec);
  spec.decoders.emplace_back(ReplaceDecoder{{std::string(kSpaceSymbol), false}, " "});
  spec.decoders.emplace_back(ByteFallbackDecoder{});
  spec.decoders.emplace_back(FuseDecoder{});
}

TokenizerSpec make_bpe_spec(GgufVocab v) {
  const std::string pre = v.model == "gemma4" || v.model == "whitespace" ? v.model : v.pre;
  const GgufPreKind& kind = gguf_pre_kind(pre, v.source);
  if (v.merges.empty()) fail("{}: tokenizer.ggml.merges is missing or empty", v.source);
  TokenizerSpec spec;
  spec.source = v.source;
  kind.raw_utf8 ? set_raw_utf8_steps(kind, v, spec) : set_byte_level_steps(kind, spec);
  spec.bos = special_id(v.bos, -1, v);
  spec.eos = special_id(v.eos, -1, v);
  spec.unk = special_id(v.unk, -1, v);
  spec.pad = special_id(v.pad, -1, v);
  spec.added_tokens = added_tokens(v, true);
  const bool add_bos = v.add_bos.value_or(kind.add_bos), add_eos = v.add_eos.value_or(false);
  spec.post_processors.push_back(
      frame(add_bos ? spec.bos : std::nullopt, add_eos ? spec.eos : std::nullopt));
  BpeModel model;
  model.merges = read_merges(v);
  model.ignore_merges = kind.ignore_merges;
  if (kind.raw_utf8) {
    const auto bytes = byte_piece_ids(v.tokens, v.types);
    model.byte_fallback = std::find(bytes.begin(), bytes.end(), -1) == bytes.end();
    model.unk = spec.unk;
  }
  model.pieces = std::move(v.tokens);
  spec.model = std::move(model);
  return spec;
}

// ---- bert: WordPiece ----------------------------------------------------------------------------
TokenizerSpec make_wordpiece_spec(GgufVocab v) {
  TokenizerSpec spec;
  spec.source = v.source;
  spec.unk = special_id(v.unk, 100, v);
  spec.pad = special_id(v.pad, 0, v);
  const auto cls = special_id(v.cls ? v.cls : v.bos, 101, v), sep = special_id(v.sep, 102, v);
  spec.bos = cls;
  spec.eos = v.eos ? special_id(v.eos, -1, v) : sep;
  if (!spec.unk || !cls || !sep)
    fail("{}: a WordPiece vocabulary of {} tokens lacks its unknown, CLS or SEP token", v.source,
         v.tokens.size());
  spec.added_tokens = added_tokens(v, true);
  spec.normalizers.emplace_back(
      BertNormalizer{true, true, v.strip_accents, v.lowercase.value_or(true)});
  spec.pre_tokenizers.emplace_back(BertPreTokenizer{});
  spec.decoders.emplace_back(WordPieceDecoder{});
  spec.post_processors.push_back(frame(cls, sep));
  WordPieceModel model;
  model.unk = *spec.unk;
  // The file marks the beginnings of words, the model what continues them.
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    std::string& token = v.tokens[i];
    if (token.starts_with(kSpaceSymbol)) {
      token.erase(0, kSpaceSymbol.size());
    } else if (v.types[i] == PieceType::kNormal) {
      token = std::string("##").append(token);
    }
  }
  model.pieces = std::move(v.tokens);
  spec.model = std::move(model);
  return spec;
}

}  // namespace

TokenizerSpec make_spec(GgufVocab v) {
  check(v);
  if (v.model == "llama") return make_sentencepiece(std::move(v), false);
  if (v.model == "t5") return make_sentencepiece(std::move(v), true);
  if (v.model == "gpt2" || v.model == "gemma4" || v.model == "whitespace")
    return make_bpe_spec(std::move(v));
  if (v.model == "bert") return make_wordpiece_spec(std::move(v));
  fail(
      "{}: tokenizer.ggml.model is '{}', which is not supported; expected llama, gpt2, gemma4, "
      "whitespace, bert or t5",
      v.source, v.model);
}

}  // namespace tokamak

// Normalizers, pre-tokenizers and decoders of a tokenizer.json.
#include <array>

#include "text/tokenizer_json_parts.h"

namespace tokamak {
namespace {

TextPattern read_pattern(const JsonNode& node) {
  if (const auto text = node.find("String")) return {std::string(text->text()), false};
  if (const auto regex = node.find("Regex")) return {std::string(regex->text()), true};
  node.refuse("expected {\"String\": …} or {\"Regex\": …}");
}

PrependScheme read_scheme(const JsonNode& node) {
  const auto scheme = node.find("prepend_scheme");
  if (!node.boolean_or("add_prefix_space", true)) {
    if (scheme && scheme->text() != "never") {
      node.refuse("add_prefix_space is false but prepend_scheme is not 'never'");
    }
    return PrependScheme::kNever;
  }
  if (!scheme || scheme->text() == "always") return PrependScheme::kAlways;
  if (scheme->text() == "first") return PrependScheme::kFirst;
  if (scheme->text() == "never") return PrependScheme::kNever;
  scheme->refuse(fmt::format("'{}' is none of always, first, never", scheme->text()));
}

std::string read_replacement(const JsonNode& node) {
  const auto replacement = node.find("replacement");
  if (!replacement) return "\xE2\x96\x81";
  replacement->character();
  return std::string(replacement->text());
}

SplitBehavior read_behavior(const JsonNode& node) {
  using enum SplitBehavior;
  constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> kNames = {
      {{"Removed", kRemoved},
       {"Isolated", kIsolated},
       {"MergedWithPrevious", kMergedWithPrevious},
       {"MergedWithNext", kMergedWithNext},
       {"Contiguous", kContiguous}}};
  for (const auto& [name, value] : kNames) {
    if (node.text() == name) return value;
  }
  node.refuse(fmt::format("'{}' is no known split behaviour", node.text()));
}

std::string from_base64(const JsonNode& node) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : node.text()) {
    if (c == '=') break;
    uint32_t digit;
    if (c >= 'A' && c <= 'Z') {
      digit = static_cast<uint32_t>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      digit = static_cast<uint32_t>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      digit = static_cast<uint32_t>(c - '0') + 52;
    } else if (c == '+' || c == '/') {
      digit = c == '+' ? 62 : 63;
    } else {
      node.refuse("not base64");
    }
    bits = (bits << 6 | digit) & 0xFFFFFF;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return out;
}

[[noreturn]] void unknown_type(const JsonNode& node, std::string_view type, std::string_view what) {
  node.refuse(fmt::format("'{}' is no known {}", type, what));
}

// The steps of a "Sequence"; nothing when the node is a single step.
template <typename Read>
bool read_sequence(const JsonNode& node, std::string_view type, std::string_view key, Read&& read) {
  if (type != "Sequence") return false;
  node.at(key).each(read);
  return true;
}

NormalizerSpec read_bert_normalizer(const JsonNode& node) {
  BertNormalizer bert;
  bert.clean_text = node.boolean_or("clean_text", true);
  bert.handle_chinese_chars = node.boolean_or("handle_chinese_chars", true);
  if (const auto strip = node.find("strip_accents")) bert.strip_accents = strip->boolean();
  bert.lowercase = node.boolean_or("lowercase", true);
  return bert;
}

NormalizerSpec read_normalizer(const JsonNode& node, std::string_view type) {
  if (type == "NFC") return NfcNormalizer{};
  if (type == "NFD") return NfdNormalizer{};
  if (type == "NFKC") return NfkcNormalizer{};
  if (type == "NFKD") return NfkdNormalizer{};
  if (type == "Lowercase") return LowercaseNormalizer{};
  if (type == "StripAccents") return StripAccentsNormalizer{};
  if (type == "Nmt") return NmtNormalizer{};
  if (type == "ByteLevel") return ByteLevelNormalizer{};
  if (type == "Strip" || type == "StripNormalizer") {
    return StripNormalizer{node.boolean_or("strip_left", true),
                           node.boolean_or("strip_right", true)};
  }
  if (type == "Prepend") return PrependNormalizer{std::string(node.at("prepend").text())};
  if (type == "Replace") {
    return ReplaceNormalizer{read_pattern(node.at("pattern")), node.text_or("content", "")};
  }
  if (type == "BertNormalizer" || type == "Bert") return read_bert_normalizer(node);
  if (type == "Precompiled") {
    const auto map = node.find("precompiled_charsmap");
    return PrecompiledNormalizer{map ? from_base64(*map) : std::string()};
  }
  unknown_type(node, type, "normalizer");
}

PreTokenizerSpec read_pre_tokenizer(const JsonNode& node, std::string_view type) {
  if (type == "ByteLevel") {
    return ByteLevelPreTokenizer{node.boolean_or("add_prefix_space", true),
                                 node.boolean_or("use_regex", true)};
  }
  if (type == "Split") {
    return SplitPreTokenizer{read_pattern(node.at("pattern")), read_behavior(node.at("behavior")),
                             node.boolean_or("invert", false)};
  }
  if (type == "Whitespace") return WhitespacePreTokenizer{};
  if (type == "WhitespaceSplit") return WhitespaceSplitPreTokenizer{};
  if (type == "BertPreTokenizer") return BertPreTokenizer{};
  if (type == "Metaspace") {
    return MetaspacePreTokenizer{read_replacement(node), read_scheme(node),
                                 node.boolean_or("split", true)};
  }
  if (type == "Punctuation") {
    const auto behavior = node.find("behavior");
    return PunctuationPreTokenizer{behavior ? read_behavior(*behavior) : SplitBehavior::kIsolated};
  }
  if (type == "Digits") return DigitsPreTokenizer{node.boolean_or("individual_digits", false)};
  if (type == "UnicodeScripts") return UnicodeScriptsPreTokenizer{};
  if (type == "CharDelimiterSplit" || type == "Delimiter") {
    return CharDelimiterPreTokenizer{node.at("delimiter").character()};
  }
  if (type == "FixedLength") {
    const auto length = node.find("length");
    return FixedLengthPreTokenizer{length ? length->natural() : 5};
  }
  unknown_type(node, type, "pre-tokenizer");
}

DecoderSpec read_decoder(const JsonNode& node, std::string_view type) {
  if (type == "ByteLevel") return ByteLevelDecoder{};
  if (type == "ByteFallback") return ByteFallbackDecoder{};
  if (type == "Fuse") return FuseDecoder{};
  if (type == "Metaspace") return MetaspaceDecoder{read_replacement(node), read_scheme(node)};
  if (type == "WordPiece") {
    return WordPieceDecoder{node.text_or("prefix", "##"), node.boolean_or("cleanup", true)};
  }
  if (type == "BPEDecoder") return BpeDecoder{node.text_or("suffix", "</w>")};
  if (type == "Strip") {
    return StripDecoder{node.at("content").character(), node.at("start").natural(),
                        node.at("stop").natural()};
  }
  if (type == "Replace") {
    return ReplaceDecoder{read_pattern(node.at("pattern")), node.text_or("content", "")};
  }
  if (type == "CTC") {
    return CtcDecoder{node.text_or("pad_token", "<pad>"), node.text_or("word_delimiter_token", "|"),
                      node.boolean_or("cleanup", true)};
  }
  unknown_type(node, type, "decoder");
}

}  // namespace

void read_normalizers(const JsonNode& node, std::vector<NormalizerSpec>& out) {
  const std::string_view type = node.at("type").text();
  const auto read = [&](const JsonNode& item) { read_normalizers(item, out); };
  if (!read_sequence(node, type, "normalizers", read)) out.push_back(read_normalizer(node, type));
}

void read_pre_tokenizers(const JsonNode& node, std::vector<PreTokenizerSpec>& out) {
  const std::string_view type = node.at("type").text();
  const auto read = [&](const JsonNode& item) { read_pre_tokenizers(item, out); };
  if (!read_sequence(node, type, "pretokenizers", read)) {
    out.push_back(read_pre_tokenizer(node, type));
  }
}

void read_decoders(const JsonNode& node, std::vector<DecoderSpec>& out) {
  const std::string_view type = node.at("type").text();
  const auto read = [&](const JsonNode& item) { read_decoders(item, out); };
  if (!read_sequence(node, type, "decoders", read)) out.push_back(read_decoder(node, type));
}

}  // namespace tokamak

#include "text/token_bytes.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/sp_pieces.h"
#include "text/sp_utf8.h"
#include "text/tokenizer_engine.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  if (what.empty()) return;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
}

// The decoders' steps on a single token.
class Reader {
 public:
  explicit Reader(const TokenizerSpec& spec) : spec_(spec) {
    if (spec.decoders.empty()) refuse("has no decoder");
    for (const DecoderSpec& d : spec.decoders) std::visit([this](const auto& s) { check(s); }, d);
  }

  std::string inside(std::string text) const {
    for (const DecoderSpec& d : spec_.decoders)
      std::visit([&](const auto& s) { apply(s, text); }, d);
    return text;
  }

  bool first_differs() const { return dropped_ > 0; }
  // As many spaces less as the decoder drops in front of a text.
  std::string first(const std::string& inside) const {
    if (drops_everywhere_) {
      std::string text = inside;
      std::erase(text, ' ');
      return text;
    }
    size_t n = 0;
    while (n < dropped_ && n < inside.size() && inside[n] == ' ') ++n;
    return inside.substr(n);
  }

 private:
  [[noreturn]] void refuse(const char* why) const {
    fail("{}: guided decoding is not possible: the tokenizer {}", spec_.source, why);
  }

  void check(const ByteLevelDecoder&) {}
  void check(const ByteFallbackDecoder&) {}
  void check(const FuseDecoder&) { fused_ = true; }
  void check(const MetaspaceDecoder& d) {
    if (d.prepend == PrependScheme::kNever) return;
    dropped_ = 1;
    drops_everywhere_ = true;
  }
  void check(const StripDecoder& d) {
    if (d.stop > 0 || d.content != U' ' || (d.start > 0 && !fused_))
      refuse("strips more than the beginning of a text");
    dropped_ = d.start;
  }
  void check(const ReplaceDecoder& d) {
    if (d.pattern.regex || fused_) refuse("replaces text across tokens");
  }
  void check(const SentencePieceDecoder& d) {
    if (!d.denormalizer_charsmap.empty()) refuse("rewrites its output");
    dropped_ = d.strip_all_leading ? std::string::npos : d.strip_dummy_prefix ? 1 : 0;
  }
  template <typename Other>
  void check(const Other&) {
    refuse("spells a token differently from place to place");
  }

  void apply(const ByteLevelDecoder&, std::string& text) const {
    if (auto bytes = byte_level::unmapped(text)) text = std::move(*bytes);
  }
  void apply(const ByteFallbackDecoder&, std::string& text) const { read_byte(text); }
  void apply(const MetaspaceDecoder& d, std::string& text) const {
    replace_all(text, d.replacement, " ");
  }
  void apply(const ReplaceDecoder& d, std::string& text) const {
    replace_all(text, d.pattern.text, d.content);
  }
  void apply(const SentencePieceDecoder& d, std::string& text) const {
    if (d.byte_fallback && read_byte(text)) return;
    if (text == d.unk_piece) text.clear();
    replace_all(text, kSpaceSymbol, " ");
  }
  template <typename Other>
  void apply(const Other&, std::string&) const {}

  static bool read_byte(std::string& text) {
    const int byte = byte_of_piece(text);
    if (byte < 0) return false;
    text.assign(1, static_cast<char>(byte));
    return true;
  }

  const TokenizerSpec& spec_;
  bool fused_ = false, drops_everywhere_ = false;
  size_t dropped_ = 0;
};

// A token of one letter: behind it others show what they add.
std::optional<int32_t> anchor_of(const Tokenizer& tokenizer) {
  for (const char* piece : {"a", "A", "e", "0"})
    if (const auto id = tokenizer.id_of(piece); id && tokenizer.decode({&*id, 1}) == piece)
      return id;
  return std::nullopt;
}

}  // namespace

TokenBytes token_bytes(const Tokenizer& tokenizer) {
  const Reader reader(tokenizer.engine().spec());
  const auto anchor = anchor_of(tokenizer);
  const std::string before = anchor ? tokenizer.decode({&*anchor, 1}) : std::string();
  const auto n = static_cast<size_t>(tokenizer.vocab_size());
  TokenBytes out{std::vector<std::string>(n), {}};
  if (reader.first_differs()) out.first.resize(n);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string& piece = tokenizer.piece(id);
    if (piece.empty() || tokenizer.is_special(id) || id == tokenizer.unk_id()) continue;
    std::string text = reader.inside(piece);
    if (anchor) {  // the decoder has the last word
      const int32_t pair[] = {*anchor, id};
      if (tokenizer.decode(pair, true) != before + unicode::to_valid(text)) continue;
    }
    if (reader.first_differs()) {
      std::string first = reader.first(text);
      if (tokenizer.decode({&id, 1}, true) == unicode::to_valid(first))
        out.first[static_cast<size_t>(id)] = std::move(first);
    }
    out.inside[static_cast<size_t>(id)] = std::move(text);
  }
  return out;
}

}  // namespace tokamak

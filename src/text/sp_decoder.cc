#include "text/sp_decoder.h"

#include "text/sp_pieces.h"
#include "text/sp_utf8.h"

namespace tokamak {
namespace {

void append_bytes(std::string_view bytes, std::string& text) {
  while (!bytes.empty()) {
    const size_t n = valid_length(bytes);
    text += n == 0 ? kReplacement : bytes.substr(0, n);
    bytes.remove_prefix(n == 0 ? 1 : n);
  }
}

void append_piece(std::string_view piece, std::string& text) {
  for (size_t at; (at = piece.find(kSpaceSymbol)) != std::string_view::npos;) {
    text += piece.substr(0, at);
    text += ' ';
    piece.remove_prefix(at + kSpaceSymbol.size());
  }
  text += piece;
}

}  // namespace

SpDecoder::SpDecoder(const SentencePieceDecoder& spec, const std::string& source) : spec_(spec) {
  if (spec.denormalizer_charsmap.empty()) return;
  SentencePieceNormalizer rules;
  rules.charsmap = spec.denormalizer_charsmap;
  rules.dummy_prefix = PrependScheme::kNever;
  rules.remove_extra_whitespaces = false;
  rules.escape_whitespaces = false;
  denormalizer_.emplace(rules, source);
}

std::string SpDecoder::decode(std::span<const std::string> pieces) const {
  std::string text, bytes;
  bool strip = spec_.strip_dummy_prefix || spec_.strip_all_leading;
  bool stripped = false;
  for (const std::string& piece : pieces) {
    if (const int byte = spec_.byte_fallback ? byte_of_piece(piece) : -1; byte >= 0) {
      bytes += static_cast<char>(byte);
      continue;
    }
    append_bytes(bytes, text);
    bytes.clear();
    if (stripped || !text.empty()) strip = false;
    if (piece == spec_.unk_piece && !piece.empty()) {
      text += spec_.unk_surface;
      continue;
    }
    std::string_view rest = piece;
    if (strip && rest.starts_with(kSpaceSymbol)) {
      rest.remove_prefix(kSpaceSymbol.size());
      stripped = !spec_.strip_all_leading;
    }
    append_piece(rest, text);
  }
  append_bytes(bytes, text);
  if (!denormalizer_) return text;
  std::string out;
  denormalizer_->normalize(text, true, out);
  return out;
}

}  // namespace tokamak

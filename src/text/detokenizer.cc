#include "text/detokenizer.h"

#include <algorithm>

#include "text/sp_utf8.h"
#include "text/tokenizer_engine.h"

namespace tokamak {
namespace {

constexpr size_t kKeep = 8;  // tokens that surely hold a character in the making

bool changes_more_than_one_token(const DecoderSpec& decoder, bool fused) {
  if (std::holds_alternative<CtcDecoder>(decoder)) return true;
  if (const auto* sp = std::get_if<SentencePieceDecoder>(&decoder))
    return !sp->denormalizer_charsmap.empty();
  if (const auto* strip = std::get_if<StripDecoder>(&decoder))
    return fused && (strip->stop > 0 || strip->content != U' ');
  if (const auto* replace = std::get_if<ReplaceDecoder>(&decoder))
    return fused && (replace->pattern.regex || replace->pattern.text.size() > 1);
  return false;
}

bool joins_tokens(const DecoderSpec& decoder) {
  return std::holds_alternative<FuseDecoder>(decoder) ||
         std::holds_alternative<ByteLevelDecoder>(decoder) ||
         std::holds_alternative<SentencePieceDecoder>(decoder);
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special), hold_(hold_of(tokenizer)) {}

Detokenizer::Hold Detokenizer::hold_of(const Tokenizer& tokenizer) {
  Hold hold = Hold::kPartialCharacter;
  bool fused = false;
  for (const DecoderSpec& decoder : tokenizer.engine().spec().decoders) {
    if (changes_more_than_one_token(decoder, fused)) return Hold::kEverything;
    if (std::holds_alternative<ByteFallbackDecoder>(decoder)) hold = Hold::kByteRun;
    if (std::holds_alternative<BpeDecoder>(decoder)) hold = Hold::kLastToken;
    fused = fused || joins_tokens(decoder);
  }
  return hold;
}

// "<0xNN>", or what looks like it.
bool Detokenizer::is_byte_token(int32_t id) const {
  if (id < 0 || id >= tokenizer_.vocab_size()) return false;
  const std::string& piece = tokenizer_.piece(id);
  return piece.size() == 6 && piece.starts_with("<0x") && piece[5] == '>';
}

// How much of decode(window_) no later id can change.
size_t Detokenizer::certain_length(const std::string& text) const {
  if (hold_ == Hold::kLastToken) {
    std::vector<int32_t> longer = window_;
    longer.push_back(window_.back());
    const std::string other = tokenizer_.decode(longer, skip_special_);
    const auto [mine, theirs] = std::mismatch(text.begin(), text.end(), other.begin(), other.end());
    return static_cast<size_t>(mine - text.begin());
  }
  // A character takes at most 4 bytes, so at most 3 replaced ones may still become one.
  size_t length = text.size();
  for (int i = 0; i < 3 && std::string_view(text).substr(0, length).ends_with(kReplacement); ++i)
    length -= kReplacement.size();
  return length;
}

// Keeps of the window what the next id's text depends on: the tokens that may hold half a
// character, and some text before them, as the first token is decoded differently.
void Detokenizer::forget_settled(const std::string& text, size_t held) {
  const size_t least = held == 0 ? 1 : kKeep;
  if (window_.size() <= least || (held > 0 && window_.size() < 2 * kKeep)) return;
  const std::string_view tail = std::string_view(text).substr(text.size() - held);
  for (size_t keep = least; keep < window_.size(); keep *= 2) {
    const std::span<const int32_t> kept(window_.data() + window_.size() - keep, keep);
    const std::string decoded = tokenizer_.decode(kept, skip_special_);
    if (!decoded.ends_with(tail)) continue;
    const std::string_view context = std::string_view(decoded).substr(0, decoded.size() - held);
    if (context.find_first_not_of(' ') == std::string_view::npos) continue;
    window_.assign(kept.begin(), kept.end());
    returned_ = context.size();
    return;
  }
}

std::string Detokenizer::push(int32_t id) {
  if (id < 0 || id >= tokenizer_.vocab_size() || tokenizer_.piece(id).empty()) return {};
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  window_.push_back(id);
  if (hold_ == Hold::kEverything || (hold_ == Hold::kByteRun && is_byte_token(id))) return {};
  const std::string text = tokenizer_.decode(window_, skip_special_);
  const size_t certain = std::max(certain_length(text), std::min(returned_, text.size()));
  std::string fresh = certain > returned_ ? text.substr(returned_, certain - returned_) : "";
  returned_ = std::max(returned_, certain);
  if (hold_ != Hold::kLastToken || certain == text.size())
    forget_settled(text, text.size() - certain);
  return fresh;
}

std::string Detokenizer::finish() {
  const std::string text = tokenizer_.decode(window_, skip_special_);
  std::string rest = text.size() > returned_ ? text.substr(returned_) : "";
  window_.clear();
  returned_ = 0;
  return rest;
}

}  // namespace tokamak

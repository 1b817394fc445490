#include "text/tokenizer_engine.h"

#include <algorithm>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/sp_pieces.h"
#include "text/unicode.h"

namespace tokamak {
namespace {

constexpr size_t kMaxText = UINT32_MAX / 4;  // positions are 32 bits wide and steps may insert
constexpr int32_t kMaxId = 1 << 26;

// A byte-level step that comes last need not be done at all: the model can work on the bytes.
bool can_use_raw_bytes(const TokenizerSpec& spec) {
  const auto is_byte_level = [](const PreTokenizerSpec& p) {
    return std::holds_alternative<ByteLevelPreTokenizer>(p);
  };
  const auto& steps = spec.pre_tokenizers;
  return supports_raw_bytes(spec.model) && !steps.empty() && is_byte_level(steps.back()) &&
         std::count_if(steps.begin(), steps.end(), is_byte_level) == 1;
}

bool is_byte_level(const TokenizerSpec& spec) {
  return std::any_of(
             spec.pre_tokenizers.begin(), spec.pre_tokenizers.end(),
             [](const auto& p) { return std::holds_alternative<ByteLevelPreTokenizer>(p); }) ||
         std::any_of(spec.normalizers.begin(), spec.normalizers.end(),
                     [](const auto& n) { return std::holds_alternative<ByteLevelNormalizer>(n); });
}

bool has_byte_fallback(const ModelSpec& model) {
  return std::visit(
      [](const auto& m) {
        if constexpr (requires { m.byte_fallback; }) {
          return m.byte_fallback;
        } else {
          return false;
        }
      },
      model);
}

}  // namespace

// A scratch of the pool, for the time of one call.
class TokenizerEngine::ScratchLease {
 public:
  explicit ScratchLease(const TokenizerEngine& engine) : engine_(engine) {
    const std::lock_guard lock(engine.mutex_);
    if (engine.pool_.empty()) {
      scratch_ = std::make_unique<Scratch>();
    } else {
      scratch_ = std::move(engine.pool_.back());
      engine.pool_.pop_back();
    }
  }
  ~ScratchLease() {
    scratch_->release_large();
    const std::lock_guard lock(engine_.mutex_);
    engine_.pool_.push_back(std::move(scratch_));
  }
  ScratchLease(const ScratchLease&) = delete;
  Scratch& operator*() { return *scratch_; }

 private:
  const TokenizerEngine& engine_;
  std::unique_ptr<Scratch> scratch_;
};

TokenizerEngine::TokenizerEngine(TokenizerSpec spec)
    : spec_(std::move(spec)),
      model_index_(pieces_of(spec_.model)),
      raw_bytes_(can_use_raw_bytes(spec_)),
      normalizers_(spec_.normalizers, spec_.source),
      pre_tokenizers_(spec_.pre_tokenizers, raw_bytes_, spec_.source),
      model_(make_model(spec_.model, model_index_, raw_bytes_, spec_.source)),
      verbatim_((collect_pieces(), make_added(false))),
      normalized_(make_added(true)),
      decoders_(spec_.decoders, spec_.source) {
  all_index_ = StringIndex(pieces_);
  byte_ids_.fill(-1);
  if (is_byte_level(spec_)) {
    for (unsigned b = 0; b < 256; ++b) {
      byte_ids_[b] =
          model_index_.find(unicode::to_utf8(byte_level::char_of(static_cast<unsigned char>(b))));
    }
  } else if (has_byte_fallback(spec_.model)) {
    byte_ids_ = byte_piece_ids(pieces_of(spec_.model), {});
  }
  bytes_survive_ =
      std::all_of(byte_ids_.begin() + 0x80, byte_ids_.end(), [](int32_t id) { return id >= 0; });
}

void TokenizerEngine::collect_pieces() {
  pieces_ = pieces_of(spec_.model);
  known_.resize(pieces_.size());
  for (size_t i = 0; i < pieces_.size(); ++i) known_[i] = !pieces_[i].empty();
  special_.resize(pieces_.size());
  for (const AddedToken& token : spec_.added_tokens) {
    if (token.id < 0 || token.id > kMaxId) {
      fail("{}: added_tokens: id {} of '{}' is out of range", spec_.source, token.id,
           token.content);
    }
    const auto id = static_cast<size_t>(token.id);
    if (id >= pieces_.size()) {
      pieces_.resize(id + 1);
      known_.resize(id + 1);
      special_.resize(id + 1);
    }
    pieces_[id] = token.content;
    known_[id] = true;
    special_[id] = token.special;
  }
  spelled_ = pieces_;
  skipped_ = special_;
  for (const auto& id : {spec_.bos, spec_.eos, spec_.unk, spec_.pad}) {
    if (id && (*id < 0 || static_cast<size_t>(*id) >= pieces_.size())) {
      fail("{}: special token id {} of {} tokens", spec_.source, *id, pieces_.size());
    }
  }
  for (const auto& post : spec_.post_processors) {
    for (const auto& item : post.items) {
      for (const int32_t id : item.ids) {
        if (id < 0) fail("{}: post_processor: token id {}", spec_.source, id);
      }
    }
  }
}

AddedTokens TokenizerEngine::make_added(bool normalized) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> patterns;
  for (const AddedToken& token : spec_.added_tokens) {
    if (token.normalized != normalized || token.content.empty()) continue;
    NormalText pattern{unicode::to_valid(token.content)};
    if (normalized) {
      normalizers_.run(pattern);
      // The original knows special tokens by their text as written, so one that the normalizer
      // changes is not skipped.
      const auto id = static_cast<size_t>(token.id);
      spelled_[id] = pattern.text;
      skipped_[id] = skipped_[id] && pattern.text == token.content;
    }
    tokens.push_back(token);
    patterns.push_back(pattern.text);
  }
  return AddedTokens(std::move(tokens), patterns);
}

std::vector<int32_t> TokenizerEngine::encode(std::string_view text,
                                             const EncodeOptions& options) const {
  if (text.size() > kMaxText) {
    fail("a text of {} bytes is too long for the tokenizer (at most {})", text.size(), kMaxText);
  }
  ScratchLease lease(*this);
  std::vector<int32_t> ids;
  const size_t valid = unicode::valid_prefix(text);
  if (valid == text.size()) {
    encode_valid(text, true, options, *lease, ids);
  } else if (!bytes_survive_) {
    encode_valid(unicode::to_valid(text), true, options, *lease, ids);
  } else {
    // Invalid bytes stand between the valid parts like added tokens.
    for (size_t at = 0; at < text.size();) {
      const size_t good = unicode::valid_prefix(text.substr(at));
      if (good > 0) encode_valid(text.substr(at, good), at == 0, options, *lease, ids);
      at += good;
      size_t end = at;
      while (end < text.size() && unicode::valid_prefix(text.substr(end, 4)) == 0) {
        end += unicode::invalid_length(text.substr(end));
      }
      encode_bytes(text.substr(at, end - at), *lease, ids);
      at = end;
    }
  }
  return options.add_special ? post_process(std::move(ids)) : ids;
}

void TokenizerEngine::encode_bytes(std::string_view bytes, Scratch& scratch,
                                   std::vector<int32_t>& out) const {
  if (bytes.empty()) return;
  if (raw_bytes_) return model_->tokenize(bytes, scratch, out);
  for (const char b : bytes) out.push_back(byte_ids_[static_cast<unsigned char>(b)]);
}

void TokenizerEngine::encode_valid(std::string_view text, bool at_start,
                                   const EncodeOptions& options, Scratch& scratch,
                                   std::vector<int32_t>& out) const {
  std::vector<TextSegment> segments;
  if (verbatim_.empty()) {
    segments.push_back({text, -1});
  } else {
    verbatim_.split(text, options.parse_special, segments);
  }
  for (const TextSegment& segment : segments) {
    if (segment.token >= 0) {
      out.push_back(segment.token);
    } else {
      encode_segment(segment.text, at_start && segment.text.data() == text.data(), options, scratch,
                     out);
    }
  }
}

void TokenizerEngine::encode_segment(std::string_view text, bool at_start,
                                     const EncodeOptions& options, Scratch& scratch,
                                     std::vector<int32_t>& out) const {
  NormalText normal{std::string(text), at_start ? 0 : NormalText::kNowhere};
  normalizers_.run(normal);
  if (normalized_.empty()) return encode_pieces(std::move(normal), scratch, out);
  std::vector<TextSegment> segments;
  normalized_.split(normal.text, options.parse_special, segments);
  if (segments.size() == 1 && segments[0].token < 0) {
    return encode_pieces(std::move(normal), scratch, out);
  }
  for (const TextSegment& segment : segments) {
    if (segment.token >= 0) {
      out.push_back(segment.token);
      continue;
    }
    const auto at = static_cast<size_t>(segment.text.data() - normal.text.data());
    const size_t start = normal.at_start(at) ? normal.start_until - at : NormalText::kNowhere;
    encode_pieces({std::string(segment.text), start}, scratch, out);
  }
}

void TokenizerEngine::encode_pieces(NormalText text, Scratch& scratch,
                                    std::vector<int32_t>& out) const {
  TextPieces pieces{{std::move(text)}, {}};
  if (pieces.text.empty()) return;
  if (pieces.text.size() > UINT32_MAX) fail("the normalized text is longer than 4 GiB");
  pieces.spans.push_back({0, static_cast<uint32_t>(pieces.text.size())});
  pre_tokenizers_.run(pieces);
  for (const Span span : pieces.spans) {
    model_->tokenize_cached(pieces.view(span), scratch, out);
  }
}

std::vector<int32_t> TokenizerEngine::post_process(std::vector<int32_t> ids) const {
  for (const TemplatePostProcessor& post : spec_.post_processors) {
    std::vector<int32_t> out;
    for (const TemplateItem& item : post.items) {
      const auto& part = item.sequence ? ids : item.ids;
      out.insert(out.end(), part.begin(), part.end());
    }
    ids = std::move(out);
  }
  return ids;
}

std::string TokenizerEngine::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int32_t id : ids) {
    const auto i = static_cast<size_t>(id);
    if (id < 0 || i >= pieces_.size() || !known_[i]) continue;
    if (skip_special && skipped_[i]) continue;
    tokens.push_back(spelled_[i]);
  }
  return decoders_.run(std::move(tokens));
}

std::optional<int32_t> TokenizerEngine::id_of(std::string_view piece) const {
  const int32_t id = all_index_.find(piece);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

bool TokenizerEngine::is_special(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < special_.size() && special_[static_cast<size_t>(id)];
}

}  // namespace tokamak

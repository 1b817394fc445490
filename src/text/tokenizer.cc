#include "text/tokenizer.h"

#include "base/error.h"
#include "text/tokenizer_engine.h"

namespace tokamak {

Tokenizer::Tokenizer(TokenizerSpec spec)
    : engine_(std::make_unique<TokenizerEngine>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return engine_->encode(text, options);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  return engine_->decode(ids, skip_special);
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(engine_->pieces().size()); }

const std::string& Tokenizer::piece(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    fail("token id {} is out of range: the vocabulary has {} tokens", id, vocab_size());
  }
  return engine_->pieces()[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::id_of(std::string_view piece) const {
  return engine_->id_of(piece);
}

bool Tokenizer::is_special(int32_t id) const { return engine_->is_special(id); }

std::optional<int32_t> Tokenizer::bos_id() const { return engine_->spec().bos; }
std::optional<int32_t> Tokenizer::eos_id() const { return engine_->spec().eos; }
std::optional<int32_t> Tokenizer::pad_id() const { return engine_->spec().pad; }

std::optional<int32_t> Tokenizer::unk_id() const {
  if (engine_->spec().unk) return engine_->spec().unk;
  const auto unk = std::visit([](const auto& m) { return std::optional<int32_t>(m.unk); },
                              engine_->spec().model);
  return unk && *unk >= 0 ? unk : std::nullopt;
}

}  // namespace tokamak

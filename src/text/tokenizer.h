// Text ↔ token ids. One engine runs a TokenizerSpec; readers make the spec from tokenizer.json,
// SentencePiece's tokenizer.model, or GGUF's tokenizer.ggml.* fields.
// Text is UTF-8; bytes that are not valid UTF-8 are handled as U+FFFD unless the model has byte
// fallback or is byte-level (then they survive).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tokamak {

struct TokenizerSpec;   // text/tokenizer_spec.h: plain data
class TokenizerEngine;  // internal: the compiled pipeline

struct EncodeOptions {
  bool add_special = true;    // let the post-processor add BOS/EOS/CLS …
  bool parse_special = true;  // recognise special tokens that stand inside the text
};

class Tokenizer {
 public:
  explicit Tokenizer(TokenizerSpec spec);  // throws Error on an inconsistent spec
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Finds the tokenizer of a model: a directory with tokenizer.json | tokenizer.model |
  // tokenizer.gguf (vocabulary-only GGUF), or one such file, or a whole model.gguf.
  static Tokenizer load(const std::filesystem::path& path);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  int32_t vocab_size() const;  // largest id + 1, added tokens included
  // The token as the vocabulary spells it ("Ġhello", "▁hello", "<0x0A>"); Error when out of range.
  const std::string& piece(int32_t id) const;
  std::optional<int32_t> id_of(std::string_view piece) const;
  bool is_special(int32_t id) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> unk_id() const;
  std::optional<int32_t> pad_id() const;

  const TokenizerEngine& engine() const { return *engine_; }

 private:
  std::unique_ptr<TokenizerEngine> engine_;
};

}  // namespace tokamak

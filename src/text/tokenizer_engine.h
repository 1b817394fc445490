// The compiled pipeline behind Tokenizer. Immutable after construction but for a pool of scratch
// memory, so every method is thread-safe.
#pragma once
#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/decoders.h"
#include "text/normalizers.h"
#include "text/pre_tokenizers.h"
#include "text/token_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class TokenizerEngine {
 public:
  explicit TokenizerEngine(TokenizerSpec spec);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  const TokenizerSpec& spec() const { return spec_; }
  const std::vector<std::string>& pieces() const { return pieces_; }
  std::optional<int32_t> id_of(std::string_view piece) const;
  bool is_special(int32_t id) const;

 private:
  class ScratchLease;

  void collect_pieces();
  AddedTokens make_added(bool normalized);
  void encode_valid(std::string_view text, bool at_start, const EncodeOptions& options,
                    Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_segment(std::string_view text, bool at_start, const EncodeOptions& options,
                      Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_pieces(NormalText text, Scratch& scratch, std::vector<int32_t>& out) const;
  void encode_bytes(std::string_view bytes, Scratch& scratch, std::vector<int32_t>& out) const;
  std::vector<int32_t> post_process(std::vector<int32_t> ids) const;

  TokenizerSpec spec_;
  std::vector<std::string> pieces_;   // by id, added tokens included
  std::vector<std::string> spelled_;  // by id: what decoders get; differs for normalized tokens
  std::vector<bool> special_, known_;
  std::vector<bool> skipped_;  // what decode leaves out with skip_special
  StringIndex model_index_, all_index_;
  bool raw_bytes_;
  Normalizers normalizers_;
  PreTokenizers pre_tokenizers_;
  std::unique_ptr<TokenModel> model_;
  AddedTokens verbatim_, normalized_;
  Decoders decoders_;
  bool bytes_survive_ = false;           // invalid UTF-8 has byte tokens
  std::array<int32_t, 256> byte_ids_{};  // for them, where the model does not take raw bytes

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> pool_;
};

}  // namespace tokamak

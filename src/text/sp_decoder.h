// SentencePiece's decoding of pieces to text. See SentencePieceDecoder.
#pragma once
#include <optional>
#include <span>
#include <string>

#include "text/sp_normalizer.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class SpDecoder {
 public:
  SpDecoder(const SentencePieceDecoder& spec, const std::string& source);
  std::string decode(std::span<const std::string> pieces) const;

 private:
  SentencePieceDecoder spec_;
  std::optional<SpNormalizer> denormalizer_;
};

}  // namespace tokamak

// The numbers of piece types, as SentencePiece's model.proto has them and GGUF took them over.
#pragma once
#include <cstdint>
#include <optional>

#include "text/tokenizer_spec.h"

namespace tokamak {

// Nothing for a number that stands for no type.
inline std::optional<PieceType> piece_type_of(int64_t number) {
  switch (number) {
    case 1:
      return PieceType::kNormal;
    case 2:
      return PieceType::kUnknown;
    case 3:
      return PieceType::kControl;
    case 4:
      return PieceType::kUserDefined;
    case 5:
      return PieceType::kUnused;
    case 6:
      return PieceType::kByte;
    default:
      return std::nullopt;
  }
}

}  // namespace tokamak

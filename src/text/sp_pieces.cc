#include "text/sp_pieces.h"

#include <initializer_list>

namespace tokamak {
namespace {

ByteTrie pieces_of_types(const std::vector<std::string>& pieces,
                         const std::vector<PieceType>& types,
                         std::initializer_list<PieceType> wanted) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const PieceType type = types.empty() ? PieceType::kNormal : types[i];
    for (const PieceType w : wanted)
      if (type == w) keys.emplace_back(pieces[i], static_cast<int32_t>(i));
  }
  return ByteTrie(std::move(keys));
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

ByteTrie mergeable_pieces(const std::vector<std::string>& pieces,
                          const std::vector<PieceType>& types) {
  return pieces_of_types(pieces, types,
                         {PieceType::kNormal, PieceType::kUserDefined, PieceType::kUnused});
}

ByteTrie reserved_pieces(const std::vector<std::string>& pieces,
                         const std::vector<PieceType>& types) {
  return pieces_of_types(pieces, types,
                         {PieceType::kControl, PieceType::kUnknown, PieceType::kByte});
}

ByteTrie user_defined_pieces(const std::vector<std::string>& pieces,
                             const std::vector<PieceType>& types) {
  return pieces_of_types(pieces, types, {PieceType::kUserDefined});
}

int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const int high = hex_digit(piece[3]), low = hex_digit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::array<int32_t, 256> byte_piece_ids(const std::vector<std::string>& pieces,
                                        const std::vector<PieceType>& types) {
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (!types.empty() && types[i] != PieceType::kByte) continue;
    if (const int byte = byte_of_piece(pieces[i]); byte >= 0) ids[byte] = static_cast<int32_t>(i);
  }
  return ids;
}

}  // namespace tokamak

// What SentencePiece's BPE and unigram models share: which pieces they may produce, and how unknown
// pieces come out.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

// Normal, user-defined and unused pieces. No types: all pieces are normal.
ByteTrie mergeable_pieces(const std::vector<std::string>& pieces,
                          const std::vector<PieceType>& types);
// Control, unknown and byte pieces.
ByteTrie reserved_pieces(const std::vector<std::string>& pieces,
                         const std::vector<PieceType>& types);
ByteTrie user_defined_pieces(const std::vector<std::string>& pieces,
                             const std::vector<PieceType>& types);

// Byte value → id of "<0xNN>", -1 where there is none. No types: judged by the text alone.
std::array<int32_t, 256> byte_piece_ids(const std::vector<std::string>& pieces,
                                        const std::vector<PieceType>& types);
// The value of "<0xNN>" (two upper-case hexadecimal digits), -1 for any other text.
int byte_of_piece(std::string_view piece);

// Takes the pieces of one text in order: unknown ones fall apart into byte pieces, or a run of them
// gives one unknown id.
class PieceSink {
 public:
  PieceSink(std::vector<int32_t>& ids, const std::array<int32_t, 256>& byte_ids, int32_t unk,
            bool byte_fallback, bool fuse_unk = true)
      : ids_(ids), byte_ids_(byte_ids), unk_(unk), byte_fallback_(byte_fallback), fuse_(fuse_unk) {}

  void add(int32_t id, std::string_view text) {
    if (id != unk_) {
      ids_.push_back(id);
    } else if (byte_fallback_) {
      for (const char c : text) {
        const int32_t byte = byte_ids_[static_cast<unsigned char>(c)];
        if (byte >= 0 || unk_ >= 0) ids_.push_back(byte >= 0 ? byte : unk_);
      }
    } else if (unk_ >= 0 && !(fuse_ && after_unknown_)) {
      ids_.push_back(unk_);
    }
    after_unknown_ = id == unk_;
  }

 private:
  std::vector<int32_t>& ids_;
  const std::array<int32_t, 256>& byte_ids_;
  int32_t unk_;  // -1: unknown text without byte pieces is dropped
  bool byte_fallback_, fuse_, after_unknown_ = false;
};

}  // namespace tokamak

// SentencePiece's BPE: merges by score. See SpBpeModel.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/token_model.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class SpBpe {
 public:
  SpBpe(const SpBpeModel& model, const std::string& source);
  // Appends the ids of a normalized text. The cache belongs to the calling thread and this model.
  void encode(std::string_view normalized, WordCache& cache, std::vector<int32_t>& ids) const;

 private:
  friend class SpBpeRun;
  bool can_form(std::string_view piece) const;
  void note_neighbours(std::string_view piece);
  size_t word_length(std::string_view text) const;

  std::vector<float> scores_;
  std::vector<PieceType> types_;
  ByteTrie pieces_;        // pieces that merges may make: normal, user-defined, unused
  ByteTrie reserved_;      // control, unknown and byte pieces: only ever whole symbols
  ByteTrie user_defined_;  // matched first, never merged
  std::array<int32_t, 256> byte_ids_{};
  // Which characters stand side by side in some piece, judged by the last byte of the left one and
  // the first byte of the right one; index 256 stands for U+2581 on the right.
  std::vector<bool> neighbours_;
  int32_t unk_ = -1;
  bool byte_fallback_ = false, fuse_unk_ = true;
};

}  // namespace tokamak

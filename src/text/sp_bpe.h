// SentencePiece's BPE: merges by score. See SpBpeModel.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class SpBpe {
 public:
  SpBpe(const SpBpeModel& model, const std::string& source);
  // Appends the ids of a normalized text. Thread-safe.
  void encode(std::string_view normalized, std::vector<int32_t>& ids) const;

 private:
  friend class SpBpeRun;
  bool can_form(std::string_view piece) const;
  std::vector<float> scores_;
  std::vector<PieceType> types_;
  ByteTrie pieces_;        // pieces that merges may make: normal, user-defined, unused
  ByteTrie reserved_;      // control, unknown and byte pieces: only ever whole symbols
  ByteTrie user_defined_;  // matched first, never merged
  std::array<int32_t, 256> byte_ids_{};
  std::array<uint64_t, 4> may_precede_space_{};  // last bytes that some piece has before U+2581
  int32_t unk_ = -1;
  bool byte_fallback_ = false, fuse_unk_ = true;
};

}  // namespace tokamak

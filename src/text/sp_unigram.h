// SentencePiece's unigram model: the best path (Viterbi) over the pieces' scores.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class SpUnigram {
 public:
  // model.types must not be empty.
  SpUnigram(const UnigramModel& model, const std::string& source);
  // Appends the ids of a normalized text. Thread-safe.
  void encode(std::string_view normalized, std::vector<int32_t>& ids) const;

 private:
  std::vector<float> scores_;
  std::vector<PieceType> types_;
  ByteTrie pieces_;
  std::array<int32_t, 256> byte_ids_{};
  int32_t unk_ = -1;
  float min_score_ = 0, max_score_ = 0;
  bool byte_fallback_ = false;
};

}  // namespace tokamak

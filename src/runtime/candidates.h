// The tokens that top_k, top_p and min_p leave, as Hugging Face's warpers leave them, without
// sorting the vocabulary.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace tokamak {

struct Candidates {
  std::vector<int32_t> ids;     // ascending
  std::vector<double> weights;  // exp(score - maximum)
};

// scores [vocab] with at least one above -inf, their maximum. top_k 0: all. In this order: top_k
// keeps ties with the k-th; top_p keeps the likeliest tokens until their sum reaches it (of equal
// scores the lowest ids); min_p drops what is below that part of the best probability.
Candidates select_candidates(std::span<const float> scores, float max, int64_t top_k, double top_p,
                             double min_p);

}  // namespace tokamak

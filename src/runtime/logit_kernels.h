// Loops over a row of logits [n], four at a time. No value depends on how the row is cut up.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tokamak {

struct RowMax {
  float value;  // -inf for a row of -inf
  bool has_nan;
};
RowMax row_max(std::span<const float> x);
// Lowest index of `value`, which the row contains.
size_t index_of(std::span<const float> x, float value);
// out[i] = x[i] / divisor
void divide(std::span<const float> x, float divisor, std::span<float> out);
// out[i] = exp(x[i] - max), relative error below 3e-7, 0 beyond e^-87; the sum.
double exp_row(std::span<const float> x, float max, std::span<float> out);
// The k-th largest value, or -inf when fewer than k are above -inf. 1 <= k <= n.
float kth_largest(std::span<const float> x, size_t k);
// Appends the indices of the values >= threshold and > -inf, ascending.
void collect_from(std::span<const float> x, float threshold, std::vector<int32_t>& out);

}  // namespace tokamak

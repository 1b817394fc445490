// Rotation of one head at one position.
#pragma once
#include <cmath>

#include "ops/rope.h"

namespace tokamak {

// x: head_dim values, turned in place. The angle is a float32 product, as transformers computes it.
inline void rotate(double* x, const RopeAttrs& a, const RopeTable& table, int32_t position) {
  const int64_t half = a.rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * table.inv_freq[static_cast<size_t>(i)];
    const double c = std::cos(static_cast<double>(angle)) * double(table.magnitude);
    const double s = std::sin(static_cast<double>(angle)) * double(table.magnitude);
    double& first = x[a.neox ? i : 2 * i];
    double& second = x[a.neox ? i + half : 2 * i + 1];
    const double f = first;
    first = f * c - second * s;
    second = second * c + f * s;
  }
}

}  // namespace tokamak

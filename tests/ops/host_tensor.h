// Tensors of the op tests: exact values in double beside the bytes that a checkpoint would hold.
#pragma once
#include <random>
#include <string>
#include <vector>

#include "ops/op.h"

namespace tokamak::test {

struct HostTensor {
  ValueType type;
  std::vector<int64_t> shape;     // symbols resolved
  std::vector<double> values;     // what the bytes mean
  std::vector<std::byte> bytes;   // row-major, in type.dtype
  std::vector<double> magnitude;  // of a reference: what an error is measured against; else |value|

  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const;
  double at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * width() + c)]; }
};

enum class Fill { gaussian, outliers, nonfinite };
std::string_view name(Fill f);

using Rng = std::mt19937_64;

// Random values rounded to the dtype; block formats get random blocks with finite scales.
HostTensor random_tensor(const ValueType& type, int64_t tokens, int64_t sequences, Fill fill,
                         Rng& rng);
// A tensor of a reference: zeros.
HostTensor zeros(const ValueType& type, int64_t tokens, int64_t sequences);
double round_to(DType t, double v);

}  // namespace tokamak::test

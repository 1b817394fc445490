// What the linear tactics share that round activations to FP8 and leave the products to cuBLASLt.
#pragma once
#include "backend/cuda/bound_linear.h"

namespace tokamak {

// A linear or linear_glu of FP8 weights in the layout "cuda.f8".
struct CodesLinear : BoundLinear {
  using BoundLinear::BoundLinear;
  float x_scale() const { return static_cast<float>(attrs.x_scale); }
  const float* scales_of(const std::byte* weight) const;
};

// What lies in a launch's workspace behind cuBLASLt's, one after another: the activations' scales,
// their codes, products [tokens, n].
struct CodesRoom {
  CodesRoom(int64_t tokens, int64_t n, int64_t k, DType product, size_t products);
  CodesRoom(const OpSignature& s, int64_t tokens, DType product);
  size_t scales = 0, codes = 0, product = 0, product_bytes = 0, end = 0;
};

// Of the ops and shapes that such a tactic takes; n is to be a multiple of n_unit.
bool codes_linear_fits(const CudaTarget& target, const OpSignature& s, int64_t n_unit);
inline constexpr int64_t kCodesMaxColumns = 32768;  // of a row that quantize_f8_rows takes
inline constexpr int kCodesLinearSm = 90;  // where cuBLASLt is known to take scales per row
std::string_view codes_linear_layout(const OpSignature& s, int input);

}  // namespace tokamak

// What the linear tactics share whose weights are FP8 in the layout "cuda.f8".
#pragma once
#include "backend/cuda/bound_linear.h"

namespace tokamak {

// Where x [tokens, k] lies, rounded to FP8, in a launch's workspace: from `scales` its rows'
// scales, then its codes.
struct CodesPlace {
  CodesPlace(size_t begin, int64_t tokens, int64_t k);
  size_t scales = 0, codes = 0, end = 0;
};
struct Codes {
  uint8_t* codes;
  float* scales;
};

// x as products take it: codes in rows of k and their rows' scales, or x of 16 bits.
struct ReadyX {
  cuda::RowsArg x;
  const float* scales = nullptr;
};

struct CodesLinear : BoundLinear {
  using BoundLinear::BoundLinear;
  const float* scales_of(const std::byte* weight) const;
  Codes round_x(const LaunchArgs& args, const CodesPlace& place, cudaStream_t stream) const;
  // `codes`: rounded to FP8 at the begin of the workspace; else x_in_vectors() there.
  ReadyX ready_x(const LaunchArgs& args, bool codes, cudaStream_t stream) const;
};

// What lies in the workspace of a tactic that leaves the products to cuBLASLt, behind what is
// cuBLASLt's own: x's codes, products [tokens, n].
struct CodesRoom {
  CodesRoom(int64_t tokens, int64_t n, int64_t k, DType product, size_t products);
  CodesRoom(const OpSignature& s, int64_t tokens, DType product);
  CodesPlace x;
  size_t product = 0, product_bytes = 0, end = 0;
};

// Of the ops and shapes that such a tactic takes; n is to be a multiple of n_unit.
bool codes_linear_fits(const CudaTarget& target, const OpSignature& s, int64_t n_unit);
inline constexpr int64_t kCodesMaxColumns = 32768;  // of a row that quantize_f8_rows takes
inline constexpr int kCodesLinearSm = 90;  // where cuBLASLt is known to take scales per row
std::string_view codes_linear_layout(const OpSignature& s, int input);

}  // namespace tokamak

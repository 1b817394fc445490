// Rows of activations on their way into and out of a product of FP8 numbers.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

// Each row of x to e4m3 codes [rows, width], in the order of f8_format.h, and its scale: `scale`
// where it is not 0 (what lies beyond its codes saturates), else the row's largest magnitude over
// 448. The width is a multiple of F8Format::kColumns.
void quantize_f8_rows(RowsArg x, float scale, uint8_t* codes, float* scales, cudaStream_t stream);

// What follows a product that is in memory:  y = activation(a + bias) [* (b + bias_b)] + residual.
// Null data: not there.
struct FinishArg {
  RowsArg a, b, bias, bias_b, residual, y;
  MapKind activation = MapKind::copy;
  // Of products without scales, for scale_linear(): a's columns count a_scales, b's b_scales, rows
  // row_scales, all `factor`.
  const float *row_scales = nullptr, *a_scales = nullptr, *b_scales = nullptr;
  float factor = 1;
};
void finish_linear(const FinishArg& f, cudaStream_t stream);
void scale_linear(const FinishArg& f, cudaStream_t stream);  // a and b in f16

}  // namespace tokamak::cuda

// Adapters added to a linear's output (ops/lora.h).
#pragma once
#include "backend/cuda/kernels/operand.h"
#include "backend/lora_view.h"

namespace tokamak::cuda {

struct LoraArg {
  static constexpr int kMaxParts = 4;
  RowsArg x, y, out;  // out may be y
  LoraView view;
  int parts = 0;
  int32_t part[kMaxParts] = {}, width[kMaxParts] = {};
  int64_t a_stride = 0, b_stride[kMaxParts] = {};  // lora_padded() of their widths
};
void lora(const LoraArg& l, cudaStream_t stream);

}  // namespace tokamak::cuda

// What the kernels' launchers take: operands as rows of elements in device memory. Plain structs,
// seen by the host compiler and by nvcc alike.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "base/dtype.h"

namespace tokamak::cuda {

// Rows of `width` elements, `stride` elements apart.
struct RowsArg {
  void* data = nullptr;
  int64_t rows = 0, width = 0, stride = 0;
  DType dtype = DType::f32;
};

// The step's arrays in device memory, and its numbers (backend.h, StepContext).
struct StepArg {
  int32_t tokens = 0, sequences = 0, logit_rows = 0, max_context = 0, max_queries = 0;
  int32_t prompts = 0, first_prompt = 0;
  const int32_t *query_begin = nullptr, *context_len = nullptr;
  const int32_t *block_table = nullptr, *logit_index = nullptr;
  int32_t block_table_stride = 0;
};

}  // namespace tokamak::cuda

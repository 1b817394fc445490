// Choosing the next tokens (backend/device_sampling.h) and feeding them back.
#pragma once
#include <cuda_runtime_api.h>

#include "backend/device_sampling.h"

namespace tokamak::cuda {

constexpr int kSampleMaxRows = 65535;

// Rows that are all greedy, without penalties. `partial`: one number per row and block; `tickets`:
// one per row, zero before and after.
size_t greedy_partial_bytes(int32_t rows, int64_t vocab);
void choose_greedy(const DecodeRows& rows, uint64_t* partial, unsigned* tickets,
                   cudaStream_t stream);

}  // namespace tokamak::cuda

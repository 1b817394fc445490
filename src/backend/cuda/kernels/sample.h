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

void feed_tokens(const FedTokens& tokens, cudaStream_t stream);

// Any rows. Their scores lie in shared memory where that is large enough.
struct DrawDevice {
  bool clusters = false;  // of 8 blocks
  int multiprocessors = 1;
  size_t shared_bytes = 0;  // that a block may ask for
};
size_t draw_workspace_bytes(const DrawDevice& device, int32_t rows, int64_t vocab);
void choose_drawn(const DrawDevice& device, const DecodeRows& rows, std::byte* workspace,
                  cudaStream_t stream);
int64_t draw_max_vocab();

}  // namespace tokamak::cuda

// Kernels that only read, or only compute: what the device can do. `sink`: 4 bytes, never written.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace tokamak::cuda {

inline constexpr int kProbeThreads = 512;  // of a block
void probe_read(const void* p, size_t bytes, int blocks, void* sink, cudaStream_t stream);
// 32 operations a thread and step.
void probe_f32(int blocks, int steps, void* sink, cudaStream_t stream);
// 8 products of 16 x 16 x 16 a warp and step, by mma.sync (on sm_90 below what wgmma reaches).
void probe_bf16(int blocks, int steps, void* sink, cudaStream_t stream);

}  // namespace tokamak::cuda

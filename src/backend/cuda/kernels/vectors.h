// The same as their namesakes in reference.h, by 16 bytes at a time and overlapped with their
// neighbours; operands that are not aligned for it, and wider rows, go to the reference.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

constexpr int64_t kVectorsMaxWidth = 32768;  // of a row that is kept in registers

void norm_vectors(const NormArg& n, cudaStream_t stream);
void softmax_vectors(RowsArg x, RowsArg y, cudaStream_t stream);
void embedding_vectors(const int32_t* ids, WeightRef table, float scale, RowsArg y,
                       cudaStream_t stream);
void gather_vectors(RowsArg x, const int32_t* index, int64_t group, RowsArg y, int element_bytes,
                    cudaStream_t stream);
void map_vectors(MapKind kind, float cap, RowsArg x, RowsArg y, cudaStream_t stream);
void glu_vectors(MapKind activation, RowsArg a, RowsArg b, RowsArg y, cudaStream_t stream);
void pair_vectors(PairKind kind, RowsArg a, RowMap map_a, RowsArg b, RowMap map_b, RowsArg y,
                  cudaStream_t stream);

}  // namespace tokamak::cuda

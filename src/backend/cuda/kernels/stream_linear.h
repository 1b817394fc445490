// linear and linear_glu at the memory's speed for up to 64 tokens (sm_90): one block of threads per
// multiprocessor streams its share of the weights through a ring in shared memory.
#pragma once
#include <cuda.h>

#include "backend/cuda/kernels/reference.h"
#include "backend/cuda/kernels/stream_format.h"

namespace tokamak::cuda {

inline constexpr int kStreamTokens = 64;     // at once
inline constexpr int kStreamTileRows = 128;  // rows of weights that a block works on
constexpr int stream_step(int bits) { return bits == 16 ? 64 : bits == 8 ? 128 : 256; }  // columns
inline constexpr int kStreamThreads = 8 * 32;  // that compute; one warp more copies

struct StreamArg {
  // 16-bit weights as a tensor [1][1][n][k] or, two of them, [n / 8][2][8][k], in boxes of 128 rows
  // and 64 columns with the 128-byte swizzle.
  CUtensorMap w;
  bool swapped = false;                                  // of the two, the second comes first
  const uint8_t *packed = nullptr, *packed_b = nullptr;  // weights of fewer bits
  StreamFormat format;                                   // bits 16: the map
  // [columns, k] of `dtype`, f16 or bf16, in boxes of `box` rows and 64 columns with
  // the same swizzle.
  CUtensorMap x;
  DType dtype = DType::f16;
  int weights = 1;  // 2: linear_glu
  int64_t n = 0, k = 0;
  int columns = 0;    // of the product: tokens, or twice as many, whose pairs are added
  int box = 8;        // rows of x's boxes: columns padded to 8, 16, 32 or 64
  bool pair = false;  // a token is two rows of x: what float32 has above 16 bits, and the rest
  RowsArg bias, bias_b, residual, y;
  MapKind activation = MapKind::copy;
  int blocks = 0;               // stream_blocks()
  float* partial = nullptr;     // stream_partial_bytes()
  unsigned* arrived = nullptr;  // [stream_tiles()], all 0 before and after
  int stages = 0;               // of the ring; set by stream_linear()
};

int stream_box(int columns);  // the least that takes them
int64_t stream_tiles(int64_t n, int weights);
int stream_blocks(int multiprocessors, int bits, int weights, int64_t n, int64_t k);
size_t stream_partial_bytes(int blocks, int box);

// The sums of a token do not depend on the others, nor on their number while the box is the same.
void stream_linear(StreamArg a, cudaStream_t stream);

// float32 rows x as pairs of bfloat16 rows in y [2 * rows, stride]: high parts, then what is left.
void split_rows(RowsArg x, void* y, int64_t stride, cudaStream_t stream);
// Rows [begin, end) of packed weights as a matrix [end - begin, k] of f16 or bf16.
void stream_unpack(const uint8_t* packed, StreamFormat format, int64_t begin, int64_t end,
                   int64_t k, DType dtype, void* y, cudaStream_t stream);

}  // namespace tokamak::cuda

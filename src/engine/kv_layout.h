// Sizes and dtypes of the paged KV cache that the compiler and the runtime share.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/dtype.h"

namespace tokamak {

// Tokens of one block. A sequence wastes half a block: with 16 less than 4 % of the room of
// contexts from 200 tokens on; attention on an H100 takes as long with 16 as with 32.
inline constexpr int32_t kDefaultKvBlockSize = 16;

// Bytes of K (and as many of V) of one block of one layer: a row per KV head and token.
inline size_t kv_block_bytes(DType dtype, int64_t kv_heads, int64_t head_dim, int64_t block_size) {
  return row_bytes(dtype, head_dim) * static_cast<size_t>(kv_heads * block_size);
}

bool is_kv_dtype(DType t);  // f32, f16, bf16, int8_row, f8e4m3
// As flags and config.json spell it: "int8" stands for int8_row, a scale per head of a token; "fp8"
// for f8e4m3, a scale per layer.
std::string_view kv_dtype_name(DType t);
DType parse_kv_dtype(std::string_view text);  // Error lists the known ones

}  // namespace tokamak

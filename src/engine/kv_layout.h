// Sizes of the paged KV cache that the compiler and the runtime share.
#pragma once
#include <cstdint>

namespace tokamak {

inline constexpr int32_t kDefaultKvBlockSize = 32;  // tokens of one block

// Elements of K (and as many of V) that one block of one layer holds.
inline int64_t kv_block_elements(int64_t kv_heads, int64_t head_dim, int64_t block_size) {
  return kv_heads * head_dim * block_size;
}

}  // namespace tokamak

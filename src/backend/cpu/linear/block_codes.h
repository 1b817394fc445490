// The parts of one GGUF block, each in a byte of its own: what a packer rearranges.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

struct BlockCodes {
  uint8_t q[256];                        // unsigned codes as stored
  uint16_t d = 0, m = 0;                 // f16 bits
  uint8_t scale[16] = {}, min[16] = {};  // K formats: per sub-block (q3_k q6_k: the int8's bits)
};

// Exact inverses of each other, for q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k.
void read_block(DType t, const std::byte* block, BlockCodes& out);
void write_block(DType t, const BlockCodes& codes, std::byte* block);

}  // namespace tokamak

// The parts of one GGUF block, each in a byte of its own: what a packer rearranges.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

struct BlockCodes {
  uint8_t q[256];                       // unsigned codes as stored (q8_0: the int8's bits)
  uint16_t d = 0, m = 0;                // f16 bits
  uint8_t scale[16] = {}, min[8] = {};  // K formats: per sub-block
};

// Exact inverses of each other.
void read_block(DType t, const std::byte* block, BlockCodes& out);
void write_block(DType t, const BlockCodes& codes, std::byte* block);

}  // namespace tokamak

// CUDA C++ for one chain signature: kernels "chain8" (eight neighbouring elements a thread, by
// loads of 16 bytes; rows of whole vectors only) and "chain1".
#pragma once
#include "ops/chain.h"
#include "ops/op.h"

namespace tokamak {

// What the kernels take, by value; the source declares the same.
struct ChainKernelArg {
  static constexpr int kOperands = kChainMaxInputs + kChainMaxOutputs;
  void* data[kOperands];      // operands, then outputs
  int64_t stride[kOperands];  // elements between rows
  int64_t rows;
};
inline constexpr int kChainThreads = 128, kChainVector = 8;

// Whether there is a source: f32, f16 and bf16, no symbolic size but the first.
bool has_chain_source(const OpSignature& signature);
// Whether the source has "chain8".
bool has_chain_vectors(const OpSignature& signature);
std::string chain_source(const OpSignature& signature, int sm);

}  // namespace tokamak

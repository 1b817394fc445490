// attention on tensor cores: decoding sequences with their contexts divided over blocks, prompts in
// tiles of queries, both in one step where it has both.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_split_attention(CudaRegistry& r);

}  // namespace tokamak

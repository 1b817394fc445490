// Adapters of a step, for the op tests: what the kernels read, and what it means.
#pragma once
#include <deque>
#include <vector>

#include "backend/lora_view.h"
#include "host_tensor.h"
#include "ops/lora.h"

namespace tokamak::test {

struct HostLora {
  struct Part {  // rank 0: none
    int64_t rank = 0;
    double scale = 0;
    DType dtype = DType::f32;
    std::vector<double> a, b;               // [rank][k], [rank][n]
    std::vector<std::byte> a_rows, b_rows;  // padded, in dtype
  };
  int64_t part_count = 0;
  std::deque<Part> parts;         // [adapters][part_count]
  std::vector<int32_t> adapters;  // [tokens]

  const Part& part(int32_t adapter, int64_t i) const {
    return parts.at(static_cast<size_t>(adapter * part_count + i));
  }
};

// Four adapters of several ranks and dtypes, some without some parts, over the tokens of sequences
// that begin at query_begin.
HostLora random_lora(const OpSignature& signature, const std::vector<int32_t>& query_begin,
                     Rng& rng);

}  // namespace tokamak::test

// lora: x [tokens, k], y [tokens, n] → y with each token's adapter added: the columns of part i,
// widths[i] of them from the left on, get scale * B(A x) of the adapter's own A [rank, k] and
// B [width, rank]. Tokens without an adapter, and parts that an adapter does not have, stay as they
// are. The output may be y itself. Adapters are not operands: the step has them
// (backend/lora_view.h). Source: arXiv 2106.09685.
#pragma once
#include <vector>

#include "ops/attrs.h"

namespace tokamak {

inline constexpr int64_t kMostLoraRank = 512;

struct LoraAttrs {
  std::vector<int64_t> parts;   // numbers into the table of an adapter's parts
  std::vector<int64_t> widths;  // their columns of y
  int64_t max_rank = 0;

  static LoraAttrs from(const Attrs& a) {
    return {a.get<std::vector<int64_t>>("parts"), a.get<std::vector<int64_t>>("widths"),
            a.get<int64_t>("max_rank")};
  }
  Attrs to_attrs() const {
    return Attrs().set("parts", parts).set("widths", widths).set("max_rank", max_rank);
  }
};

}  // namespace tokamak

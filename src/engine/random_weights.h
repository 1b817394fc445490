// Values for weights that nobody has on disk: pseudo-random, made as fast as memory is written,
// with a spread that keeps activations finite through any number of layers.
#pragma once
#include <map>
#include <tuple>
#include <vector>

#include "engine/plan.h"

namespace tokamak {

class RandomWeights {
 public:
  explicit RandomWeights(uint64_t seed);

  // Makes what write_rows() needs for weights of this dtype and width. Error: a dtype of which no
  // random weights are made.
  void prepare(const PlanWeight& weight);
  // Rows [begin, end) as a checkpoint has them (a vector is one row); `to` is where row begin goes.
  // The same for every call with this seed. Several threads may write.
  void write_rows(const PlanWeight& weight, int64_t begin, int64_t end, std::byte* to) const;
  static int64_t rows(const PlanWeight& weight);
  static size_t row_bytes(const PlanWeight& weight);

 private:
  struct Kind {
    DType dtype;
    float center, spread;
    bool operator<(const Kind& o) const {
      return std::tie(dtype, center, spread) < std::tie(o.dtype, o.center, o.spread);
    }
  };
  static Kind kind_of(const PlanWeight& weight);
  std::vector<std::byte> values(const Kind& kind) const;
  std::vector<std::byte> codes(DType dtype) const;

  const uint64_t seed_;
  std::vector<float> units_;                       // -1 … 1
  std::map<Kind, std::vector<std::byte>> tables_;  // rows are windows into them, far apart
};

}  // namespace tokamak

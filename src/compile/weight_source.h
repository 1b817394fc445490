// Where the compiler gets weights from: a checkpoint, or a generator for benchmarks of shapes that
// nobody has on disk.
#pragma once
#include <memory>
#include <vector>

#include "base/tensor.h"
#include "engine/plan.h"
#include "formats/checkpoint.h"

namespace tokamak {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  // A weight as the checkpoint has it, its parts joined by rows. Valid until the next load() or
  // release(). Error when a part is missing or differs from what the plan expects.
  virtual TensorView load(const PlanWeight& weight) = 0;
  // Rows [begin, end) of what load() returned are not needed in memory any more.
  virtual void release(const TensorView& view, int64_t begin, int64_t end) = 0;
};

std::unique_ptr<WeightSource> make_checkpoint_source(const Checkpoint& checkpoint);
// Deterministic values of the dtype's kind with a spread that keeps activations finite.
std::unique_ptr<WeightSource> make_random_source(uint64_t seed);

}  // namespace tokamak

// The adapters of a session: their matrices in device memory, and the table by which kernels find
// them. A number stands for one adapter and never for another one.
#pragma once
#include <span>
#include <vector>

#include "backend/backend.h"
#include "engine/lora_plan.h"

namespace tokamak {

// A linear's matrices: y += scale * B(A x).
struct LoraMatrices {
  int64_t layer = 0;
  LoraKind kind = LoraKind::q;
  float scale = 1;
  TensorView a, b;  // [rank, in], [out, rank]; f32, f16 or bf16
};

class LoraStore {
 public:
  LoraStore(Backend& backend, std::vector<LoraTarget> targets, const LoraOptions& options);

  bool enabled() const { return !targets_.empty(); }
  int64_t max_rank() const { return options_.max_rank; }
  // Not while a step runs. `source` names the adapter in errors: no room, too large a rank, a
  // linear that takes none, another shape.
  int32_t load(std::span<const LoraMatrices> matrices, const std::string& source);
  // Not while a sequence uses it.
  void unload(int32_t adapter);
  void check(int32_t adapter) const { slot(adapter); }  // Error unless it is loaded
  // Its place in the table; -1 for none.
  int32_t row(int32_t adapter) const {
    return adapter < 0 ? -1 : adapter % static_cast<int32_t>(slots_.size());
  }
  int64_t loaded() const;
  LoraView view() const;  // but for the step's tokens

 private:
  struct Slot {
    int32_t adapter = -1;  // -1: free
    Backend::Buffer memory;
    std::vector<LoraPart> parts;
  };
  const Slot& slot(int32_t adapter) const;
  size_t target_of(const LoraMatrices& m, const std::string& source) const;
  void send(size_t row);

  Backend& backend_;
  const std::vector<LoraTarget> targets_;
  const LoraOptions options_;
  std::vector<Slot> slots_;
  Backend::Buffer table_;  // LoraPart [max_loras][targets]
  int32_t rounds_ = 0;     // how many were ever loaded
};

}  // namespace tokamak

// A plan bound to a device: kernels for every step and bucket, weights in the layouts that they
// want, operands in one arena. What the engine recorded is used where this machine has it; other
// steps get tactics by estimate, and their weights are packed anew in memory.
#pragma once
#include <map>
#include <memory>
#include <vector>

#include "backend/backend.h"
#include "engine/engine_file.h"
#include "engine/memory_plan.h"
#include "runtime/weight_store.h"

namespace tokamak {

class Program {
 public:
  // copy_weights: into device memory (huge pages) instead of using the mapping in place.
  // other_layouts: those of devices that the engine may have been built for.
  Program(Backend& backend, EngineFile& engine, bool copy_weights,
          const LayoutLookup& other_layouts = {});
  // Before load_weights(): so much of the weights stays on the device.
  void keep_percent(double percent) { weights_.keep_percent(percent); }
  const WeightRing& weight_ring() const { return weights_.ring(); }
  double measure_weight_copy() { return weights_.measure_copy(); }
  // Once, before the first plan_memory(): until then there is no weight in device memory.
  void load_weights();

  const Plan& plan() const { return std::as_const(engine_).plan(); }
  int reselected_steps() const { return reselected_; }

  // Memory for steps of up to so many tokens and rows of logits; the step's inputs are read from
  // these arrays. Launches are valid until the next call.
  void plan_memory(int64_t tokens, int64_t rows, const int32_t* token_ids,
                   const int32_t* positions);
  // Where a network's own input is read from; before plan_memory().
  void set_input(int32_t value, const std::byte* data);
  // The launches for a step. Without rows of logits their steps are left out where possible.
  // adapters: tokens of it have some (engine/lora_plan.h).
  std::span<const BoundLaunch> launches(int64_t tokens, int64_t rows, bool adapters = false);
  // Which step of the plan a launch of these is.
  size_t step_of(size_t launch, bool adapters) const { return variant(adapters).steps.at(launch); }
  std::byte* workspace() const { return workspace_.get(); }
  // Where a value is, after plan_memory().
  Operand operand(int32_t value) const;

  // Index of the choice (tactic) that a step runs with for so many tokens and rows.
  std::string_view tactic(size_t step, int64_t tokens, int64_t rows) const;
  bool is_row_step(size_t step) const { return steps_.at(step).rows; }
  int64_t arena_bytes() const { return arena_bytes_; }
  int64_t workspace_bytes() const { return workspace_bytes_; }
  int64_t weight_bytes() const { return weights_.bytes(); }  // as the steps want them
  // Of these in memory of our own: copied or packed anew.
  int64_t repacked_bytes() const { return weights_.own_bytes(); }
  // What plan_memory() will allocate for steps of so many tokens and rows.
  int64_t workspace_need(int64_t tokens, int64_t rows) const;

 private:
  struct Bound {  // one tactic of one step
    int32_t bucket;
    const Tactic* tactic;
    const Kernel* kernel;
  };
  struct Step {
    bool rows;                         // its bucket follows from the rows of logits
    std::vector<Bound> bound;          // ascending buckets
    std::vector<std::string> layouts;  // per input; empty for activations
  };

  // The launches of steps with adapters, and without.
  struct Variant {
    std::vector<size_t> steps;  // of the plan
    std::vector<BoundLaunch> launches;
    size_t first_row_step = 0;                    // from here on all steps are row steps
    std::pair<int64_t, int64_t> current{-1, -1};  // tokens and rows that launches are set for
  };

  struct Option;

  void bind_step(size_t i);
  void list_steps(Variant& variant, Runs other) const;
  BoundLaunch bind_launch(size_t step) const;
  const Variant& variant(bool adapters) const {
    return adapters && has_adapters_ ? with_adapters_ : without_adapters_;
  }
  bool recorded_fits(const PlanStep& step, const OpSignature& signature) const;
  std::vector<Option> options_of(const PlanStep& step, const OpSignature& signature) const;
  double expected_us(const TacticChoice& c, const Tactic& tactic,
                     const OpSignature& signature) const;
  double packing_us(const PlanStep& step, const std::vector<std::string>& layouts) const;
  std::vector<TacticChoice> reselect(const PlanStep& step, const OpSignature& signature) const;
  const Bound& choice(const Step& step, int64_t tokens, int64_t rows) const;

  Backend& backend_;
  EngineFile& engine_;
  const bool deterministic_;
  std::vector<Step> steps_;
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;  // tactic and signature
  WeightStore weights_;
  Variant without_adapters_, with_adapters_;
  bool has_adapters_ = false;  // steps of its own
  MemoryPlan memory_;
  Backend::Buffer arena_, workspace_;
  std::map<int32_t, const std::byte*> inputs_;
  const int32_t *token_ids_ = nullptr, *positions_ = nullptr;
  int64_t arena_bytes_ = 0, workspace_bytes_ = 0;
  int reselected_ = 0;
};

}  // namespace tokamak

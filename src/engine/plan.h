// A plan is the lowered graph: values with their storage, launches in order with a chosen tactic
// per token bucket, and the weights with their packed place in the engine file. Plain data with a
// JSON form; offsets of activations are not in it, for they follow from the limits at open time
// (engine/memory_plan.h).
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "base/shape.h"
#include "ops/op.h"

namespace tokamak {

struct PlanWeight {
  std::vector<std::string> names;  // checkpoint tensors, joined by rows
  DType dtype = DType::f32;
  std::vector<int64_t> shape;  // as in the checkpoint, joined
  std::string layout = "plain";
  uint64_t offset = 0, bytes = 0;  // in the engine file's weight section
};

enum class Storage : uint8_t {
  activation,  // planned memory
  view,        // columns of another value: same rows, begin = first column
  weight,      // index into weights
  token_ids,
  positions,  // the step's inputs
  input,      // a network's own input, given by name
};

struct PlanValue {
  std::string name;
  ValueType type;
  Storage storage = Storage::activation;
  int32_t base = -1;         // view: the value it looks into; weight: index into weights
  int64_t column_begin = 0;  // view
};

struct TacticChoice {
  int32_t bucket = 1;  // largest token count it was tuned for; the last one serves anything above
  std::string tactic;
  double us = 0;                                       // measured when tuned, 0 otherwise
  std::vector<std::pair<std::string, double>> losers;  // tactic, best µs
};

// How much a bucket counts where one choice serves several: decoding first, then long prompts.
constexpr double bucket_weight(int32_t bucket) {
  return bucket == 1 ? 1.0 : bucket <= 16 ? 0.2 : 0.15;
}

// Which launches a step is part of (engine/lora_plan.h). Engine files hold `always` alone.
enum class Runs : uint8_t { always, without_adapters, with_adapters };

struct PlanStep {
  Op op = Op::unary;
  Attrs attrs;
  std::string name;                      // scope, for explain
  std::vector<int32_t> inputs, outputs;  // values
  std::vector<TacticChoice> choices;     // ascending buckets
  Runs runs = Runs::always;
};

struct Plan {
  std::vector<PlanValue> values;
  std::vector<PlanStep> steps;
  std::vector<PlanWeight> weights;
  // A seed: the engine file has no weights, they are made when it is opened (random_weights.h).
  uint64_t random_weights = 0;
  int32_t logits = -1;  // value id: f32 [sequences, vocab]; -1: a network (network.h)
  int32_t hidden = -1;  // value id: [sequences, hidden], what the logits come from; -1: not kept
  std::vector<int32_t> debug_outputs;  // kept until the step's end; a network's outputs
  // Compiled for its steps, per key (backend.h, CompiledCode): arbitrary bytes.
  std::vector<std::pair<std::string, std::string>> code;

  // KV cache
  int32_t kv_layers = 0, kv_heads = 0, head_dim = 0;
  DType kv_dtype = DType::f16;
  std::vector<int64_t> kv_windows;  // per layer, 0 = all

  OpSignature signature(const PlanStep& step) const;
  Json to_json() const;
  static Plan from_json(const Json& json);  // validates every index; Error
};

Shape shape_of(const PlanWeight& weight);
// True for steps whose rows are rows of logits: their bucket follows from those, not from tokens.
bool is_row_step(const Plan& plan, const PlanStep& step);

}  // namespace tokamak

// Where each activation lives in one arena: values whose lifetimes do not meet share bytes. Sizes
// follow from the tokens and logit rows of a step, so the same plan serves every limit.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/plan.h"

namespace tokamak {

inline constexpr int64_t kActivationAlignment = 256;

// Steps [begin, end] during which the storage of a value must stay: from its producer to its last
// reader, its views' readers included; logits, hidden states and debug outputs until the end of the
// step.
struct Lifetime {
  int32_t begin = -1, end = -1;  // begin -1: no storage in the arena
};
std::vector<Lifetime> lifetimes(const Plan& plan);

struct MemoryPlan {
  std::vector<int64_t> offsets;  // per value; -1 where the value has no storage of its own
  int64_t bytes = 0;             // size of the arena
};

// Bytes of a value for so many tokens and logit rows.
int64_t value_bytes(const ValueType& type, int64_t tokens, int64_t rows);

// Best fit, largest values first; those of steps with adapters last, so that all others lie as they
// would without.
MemoryPlan plan_memory(const Plan& plan, int64_t tokens, int64_t rows);

// What a model needs, for people.
struct MemoryNeed {
  int64_t tokens = 0, rows = 0, kv_tokens = 0;
  int64_t activations = 0, workspace = 0, weights = 0, kv_per_token = 0;
  // Of the weights: room for those that stay in host memory, and these (not part of the total).
  int64_t ring = 0, host_weights = 0;
  std::string kv_dtype;
  int64_t total() const { return activations + workspace + weights + kv_per_token * kv_tokens; }
  std::string table() const;  // several lines
  std::string line() const;
};
int64_t kv_bytes_per_token(const Plan& plan);
int64_t weight_bytes(const Plan& plan);

}  // namespace tokamak

// A plan that takes adapters (LoRA): linears get steps that add them, which run where a step has
// adapters; where it has none, the plan is what it was. Linears whose result is more than a sum (a
// gated pair, an activation) are taken apart for steps with adapters.
#pragma once
#include <string>
#include <vector>

#include "engine/plan.h"

namespace tokamak {

// The linears of a decoder layer that adapters change, by Hugging Face's names.
enum class LoraKind : uint8_t { q, k, v, o, gate, up, down };
inline constexpr int kLoraKinds = 7;
std::string_view name(LoraKind kind);  // "q_proj" …
// Error names the flag and the known ones. Empty: all.
std::vector<LoraKind> parse_lora_targets(const std::vector<std::string>& names);

struct LoraOptions {
  int64_t max_rank = 0;              // 0: no adapters
  int64_t max_loras = 8;             // loaded at a time
  std::vector<std::string> targets;  // empty: all kinds
};

// One linear that takes adapters: its part number is its index here.
struct LoraTarget {
  int64_t layer = 0;
  LoraKind kind = LoraKind::q;
  int64_t in = 0, out = 0;
  bool wanted = true;  // among the targets
};

// Rewrites the plan; empty when max_rank is 0. Error when nothing in it takes adapters.
std::vector<LoraTarget> add_lora(Plan& plan, const LoraOptions& options);

}  // namespace tokamak

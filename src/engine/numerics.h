// What the arithmetic of a plan may do, as attributes of its steps: which linears may round their
// activations to 8 bits, and whether a token's results may depend on the rest of the step.
#pragma once
#include <string>
#include <vector>

#include "engine/plan.h"

namespace tokamak {

// The role of a linear (or linear_glu) in a decoder. Error of the activations costs each another
// part of the model's quality.
enum class LinearKind : uint8_t { qkv, attention_out, gate_up, down, lm_head, other };
std::string_view name(LinearKind kind);
LinearKind linear_kind(const Plan& plan, const PlanStep& step);

// What "auto" does: 8 bits for the kinds of linear, and formats of weights, where they cost at most
// 0.2 % of perplexity together; and, as FP8, wherever the weights are FP8.
bool eight_bits_by_default(LinearKind kind, DType weights);

// "auto": as above, the kinds that may get 8 bits; "8"; "16"; or the kinds that
// get 8 bits, by commas ("gate_up,down"). Error lists what is known.
std::vector<LinearKind> kinds_of_8_bits(const std::string& activation_bits);
void set_activation_bits(Plan& plan, const std::string& activation_bits);
// Activation bits of a linear step.
int64_t activation_bits(const PlanStep& step);

// Linears and attention of a deterministic plan say so (ops/linear.h), and every step runs one
// tactic whatever the number of tokens.
void set_deterministic(Plan& plan);
bool is_deterministic(const Plan& plan);

}  // namespace tokamak

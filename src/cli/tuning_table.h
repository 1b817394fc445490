// What tuning chose, as tables of an engine's plan.
#pragma once
#include <string>

#include "engine/plan.h"

namespace tokamak::cli {

// One line for equal steps: their weights' layout and the tactics of the smallest and of the
// largest step, with their measured µs.
std::string tuning_table(const Plan& plan);

// For equal steps and every token bucket: what was chosen, and the times of those that lost.
std::string losers_table(const Plan& plan);

// The same of the buckets that a step of `tokens` tokens and `rows` rows of logits uses, with the
// time that all equal steps together take.
std::string step_losers_table(const Plan& plan, int64_t tokens, int64_t rows);

}  // namespace tokamak::cli

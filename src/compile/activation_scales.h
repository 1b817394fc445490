// FP8 with static scales of activations, as a checkpoint has them.
#pragma once
#include <map>
#include <string>

#include "engine/plan.h"

namespace tokamak {

// scales: QuantizationConfig's. Linears of FP8 weights and 8-bit activations get x_scale
// (ops/linear.h) from those of their modules, the largest where several share the input.
void set_activation_scales(Plan& plan, const std::map<std::string, double>& scales);

}  // namespace tokamak

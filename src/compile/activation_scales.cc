#include "compile/activation_scales.h"

#include <algorithm>

#include "engine/numerics.h"
#include "formats/model_config.h"

namespace tokamak {

void set_activation_scales(Plan& plan, const std::map<std::string, double>& scales) {
  for (PlanStep& step : plan.steps) {
    if (step.op != Op::linear && step.op != Op::linear_glu) continue;
    if (activation_bits(step) != 8) continue;
    double largest = 0;
    for (const int32_t input : step.inputs) {
      const PlanValue& v = plan.values[static_cast<size_t>(input)];
      if (v.storage != Storage::weight || v.type.dtype != DType::f8_row) continue;
      for (const std::string& weight : plan.weights[static_cast<size_t>(v.base)].names)
        if (const auto it = scales.find(scaled_module(weight)); it != scales.end())
          largest = std::max(largest, it->second);
    }
    if (largest > 0) step.attrs.set("x_scale", largest);
  }
}

}  // namespace tokamak

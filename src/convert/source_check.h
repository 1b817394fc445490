// Compares what a model should hold with what its files hold.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "convert/model_source.h"

namespace tokamak {

struct CheckedRule {
  WeightRule rule;
  const TensorView* source = nullptr;
  const TensorView* scale = nullptr;  // of float8_e4m3 weights: one number, or one for each row
  double input_scale = 0;             // of their activations, where it is static
};

// The rules with their tensors. Error: missing, misshapen or unexpected weights. Other left-over
// tensors are described in `warnings`.
std::vector<CheckedRule> check_source(const ModelSource& source,
                                      std::vector<std::string>& warnings);

}  // namespace tokamak

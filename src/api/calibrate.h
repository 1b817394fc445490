// Static scales of activations for FP8: a model runs over a text, and each linear's largest input
// becomes the largest code.
#pragma once
#include <filesystem>
#include <map>
#include <string>

namespace tokamak {

struct CalibrateOptions {
  std::filesystem::path model;  // at any stage, not quantized
  std::filesystem::path text;
  int64_t windows = 512;  // of the text, disjoint; fewer where it is shorter
  int64_t window_tokens = 512;
  int workers = 0;
};

// As QuantizationConfig::activation_scales. Runs on the CPU. Error: the text has no window.
std::map<std::string, double> calibrate_activations(const CalibrateOptions& options);

}  // namespace tokamak

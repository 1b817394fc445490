// What quantization of weights is asked to do, and which tensors of a checkpoint that concerns.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "formats/model_config.h"

namespace tokamak {

struct QuantRecipe {
  int bits = 0;                 // 8 or 4; 0: nothing is quantized
  int64_t group_size = -1;      // inputs that share a scale: 32, 64, 128; -1: a whole row
  bool group_chosen = true;     // by the caller; else tensors that it does not divide take less
  bool has_zero_point = false;  // a minimum beside the scale
  bool fp8 = false;             // f8_row: bits 8, a scale for a whole row
  std::vector<std::string> exclude_modules;  // "attention.dense", "transformer.layers.0.*"
  bool quantize_lm_head = false, quantize_embedding = false;
  bool keep_quantized = false;  // what is in blocks already stays in them

  explicit operator bool() const { return bits > 0; }
  DType dtype() const {
    if (fp8) return DType::f8_row;
    return dtype_of_groups(group_size);
  }
  DType dtype_of_groups(int64_t size) const {
    return group_dtype(bits, size < 0 ? 0 : int(size), has_zero_point);
  }
};

// Default groups: 64 for int8, or 32 or a whole row for tensors that 64 does not divide; 128 for
// int4; a whole row for fp8. Errors name the flag. qformat: "int8_wo", "int4_wo", "fp8".
QuantRecipe make_recipe(const std::string& qformat, std::optional<int64_t> group_size);

// Chooses the dtype of each tensor by the names of the checkpoint.
class QuantPolicy {
 public:
  QuantPolicy(const QuantRecipe& recipe, const ModelConfig& config);

  // Of a tensor with layers numbered over the whole model: what it becomes, or `stays` when the
  // recipe leaves it alone. columns: of the part that one of `parts` ranks has. Error when groups
  // do not fit: names the tensor, its size and the groups that would do.
  DType dtype_of(const std::string& tensor, bool matrix, int64_t columns, DType source, DType stays,
                 int parts = 1);
  // Error when an excluded module matched nothing; it names the modules there are.
  void check_excluded() const;
  void check_any() const;  // Error when nothing was left to quantize
  // What config.json says of the result: the recipe's groups, or what all tensors took instead.
  void describe(QuantizationConfig& out) const;
  // The formats that were chosen, for a report.
  std::string formats() const;
  // Things worth a warning about this recipe, one line each.
  std::vector<std::string> notices() const;

 private:
  bool excluded(const std::string& module);
  std::string sizes_that_fit(int64_t columns) const;
  int64_t group_for(int64_t columns) const;
  const QuantRecipe recipe_;
  const bool tied_;
  DType target_ = DType::f32;
  std::vector<bool> matched_;
  std::vector<std::string> modules_;  // linear layers seen, without their layer
  int64_t chosen_ = 0;                // tensors in the target format
  std::vector<int64_t> groups_;       // their sizes, each once
  int64_t requantized_ = 0;           // tensors that were in blocks before
  std::string requantized_example_;
};

}  // namespace tokamak

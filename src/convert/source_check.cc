#include "convert/source_check.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/block_codec.h"
#include "base/error.h"

namespace tokamak {
namespace {

std::string prefix_of(const ModelSource& source) {
  const WeightNames& n = *source.names;
  for (const std::string& prefix : n.prefixes)
    if (source.tensors().contains(prefix + n.embedding + ".weight")) return prefix;
  fail("'{}': tensor '{}{}.weight' is missing", source.name, n.prefixes.front(), n.embedding);
}

std::string head_of(const ModelSource& source) {
  for (const std::string& head : source.names->heads)
    if (source.tensors().contains(head + ".weight")) return head;
  return source.names->heads.front();
}

void check_shape(const ModelSource& source, const WeightRule& rule, const TensorView& found) {
  const Shape expected =
      rule.columns == 0 ? Shape{rule.source_rows} : Shape{rule.source_rows, rule.columns};
  if (!(found.shape == expected))
    fail("'{}': tensor '{}' has shape {}, expected {}", source.name, rule.source, found.shape.str(),
         expected.str());
  const bool plain = found.dtype == DType::f32 || found.dtype == DType::f16 ||
                     found.dtype == DType::bf16 || found.dtype == DType::f64;
  const bool fp8 = found.dtype == DType::f8e4m3 && rule.columns > 0;
  if (!plain && !fp8 && !(is_block_format(found.dtype) && rule.columns > 0))
    fail("'{}': tensor '{}' is {}, expected float32, float16 or bfloat16{}", source.name,
         rule.source, info(found.dtype).long_name, source.gguf ? " (or blocks for a matrix)" : "");
}

// The scale that published FP8 weights have beside them.
const TensorView* scale_of(const ModelSource& source, const WeightRule& rule,
                           const TensorView& found) {
  if (found.dtype != DType::f8e4m3) return nullptr;
  const std::string name = rule.source + "_scale";
  const auto it = source.tensors().find(name);
  if (it == source.tensors().end())
    fail("'{}': tensor '{}' is {} and has no '{}' beside it", source.name, rule.source,
         info(found.dtype).long_name, name);
  const TensorView& scale = it->second;
  const bool plain =
      scale.dtype == DType::f32 || scale.dtype == DType::f16 || scale.dtype == DType::bf16;
  const int64_t numbers = scale.shape.elems(), rows = rule.source_rows;
  if (!plain || (numbers != 1 && numbers != rows))
    fail("'{}': tensor '{}' is {} {}, expected a float for all of '{}' or for each of its {} rows",
         source.name, name, info(scale.dtype).long_name, scale.shape.str(), rule.source, rows);
  return &scale;
}

// The static scale that activations have beside FP8 weights; 0: they have none.
double input_scale_of(const ModelSource& source, const WeightRule& rule, const TensorView& found) {
  constexpr std::string_view kWeight = ".weight";
  if (found.dtype != DType::f8e4m3 || !rule.source.ends_with(kWeight)) return 0;
  const std::string name =
      rule.source.substr(0, rule.source.size() - kWeight.size()) + ".input_scale";
  const auto it = source.tensors().find(name);
  if (it == source.tensors().end()) return 0;
  const TensorView& scale = it->second;
  const bool plain =
      scale.dtype == DType::f32 || scale.dtype == DType::f16 || scale.dtype == DType::bf16;
  if (!plain || scale.shape.elems() != 1)
    fail("'{}': tensor '{}' is {} {}, expected one float for all activations", source.name, name,
         info(scale.dtype).long_name, scale.shape.str());
  float value = 0;
  dequantize_row(scale.dtype, scale.data, &value, 1);
  if (!std::isfinite(value) || value <= 0)
    fail("'{}': tensor '{}' is {}, expected a positive number", source.name, name, value);
  return value;
}

bool contains_any(const std::string& name, const std::vector<std::string>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const std::string& p) { return name.find(p) != std::string::npos; });
}

void check_missing(const ModelSource& source, const std::vector<WeightRule>& rules) {
  std::set<std::string> missing;
  for (const WeightRule& r : rules)
    if (!source.tensors().contains(r.source)) missing.insert(r.source);
  if (missing.empty()) return;
  fail("'{}': tensor '{}' is missing{}", source.name, *missing.begin(),
       missing.size() == 1 ? "" : " (and " + std::to_string(missing.size() - 1) + " more)");
}

void check_extra(const ModelSource& source, const std::vector<WeightRule>& rules,
                 std::vector<std::string>& warnings) {
  std::set<std::string> used;
  for (const WeightRule& r : rules) used.insert(r.source);
  for (const auto& [name, view] : source.tensors()) {
    if (used.contains(name) || contains_any(name, source.names->ignored)) continue;
    const auto is_head = [&](const std::string& head) { return name == head + ".weight"; };
    if (std::any_of(source.names->heads.begin(), source.names->heads.end(), is_head)) continue;
    if (name.ends_with(".weight_scale") || name.ends_with(".input_scale")) continue;
    if (name.ends_with(".weight") || name.ends_with(".bias"))
      fail(
          "'{}': tensor '{}' {} has no place in a {} model of {} layers as config.json or the "
          "metadata describe it",
          source.name, name, view.shape.str(), source.config.architecture,
          source.config.num_hidden_layers);
    warnings.push_back(fmt::format("'{}': tensor '{}' is not used", source.name, name));
  }
}

}  // namespace

std::vector<CheckedRule> check_source(const ModelSource& source,
                                      std::vector<std::string>& warnings) {
  const std::vector<WeightRule> rules =
      weight_rules(*source.names, source.config, prefix_of(source), head_of(source));
  check_missing(source, rules);
  check_extra(source, rules, warnings);
  std::vector<CheckedRule> out;
  for (const WeightRule& r : rules) {
    const TensorView& found = source.tensors().find(r.source)->second;
    check_shape(source, r, found);
    out.push_back({r, &found, scale_of(source, r, found), input_scale_of(source, r, found)});
  }
  return out;
}

}  // namespace tokamak

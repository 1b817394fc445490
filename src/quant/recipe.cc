#include "quant/recipe.h"

#include <fnmatch.h>

#include <algorithm>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr std::string_view kEmbedding = "transformer.vocab_embedding";
constexpr std::string_view kHead = "lm_head";
constexpr int64_t kGroups[] = {32, 64, 128, -1};

// The linear layers of a block. Routers, norms and biases are not among them.
constexpr std::string_view kLinear[] = {"attention.qkv", "attention.q",     "attention.k",
                                        "attention.v",   "attention.dense", "mlp.fc",
                                        "mlp.gate",      "mlp.proj"};

std::string without_weight(const std::string& tensor) {
  constexpr std::string_view end = ".weight";
  return tensor.ends_with(end) ? tensor.substr(0, tensor.size() - end.size()) : std::string();
}

// "transformer.layers.7.mlp.fc" → "mlp.fc"; others stay.
std::string kind_of(const std::string& module) {
  for (std::string_view kind : kLinear)
    if (module.ends_with("." + std::string(kind))) return std::string(kind);
  return module;
}

bool is_linear(const std::string& module) {
  return module == kEmbedding || module == kHead || kind_of(module) != module;
}

// A pattern names a module whole, or its last parts; * and ? stand for anything.
bool matches(const std::string& pattern, const std::string& module) {
  return fnmatch(pattern.c_str(), module.c_str(), 0) == 0 ||
         fnmatch(("*." + pattern).c_str(), module.c_str(), 0) == 0;
}

// q, k and v are apart in published models and one tensor in a checkpoint: a pattern for the whole
// counts for the parts.
bool matches_parts(const std::string& pattern, const std::string& module) {
  if (matches(pattern, module)) return true;
  for (std::string_view part : {"attention.q", "attention.k", "attention.v"})
    if (module.ends_with(part))
      return matches(pattern, module.substr(0, module.size() - 1) + "qkv");
  return false;
}

}  // namespace

QuantRecipe make_recipe(const std::string& qformat, std::optional<int64_t> group_size) {
  QuantRecipe r;
  if (qformat != "int8_wo" && qformat != "int4_wo" && qformat != "fp8")
    fail("--qformat is '{}'; known: fp8, int8_wo, int4_wo", qformat);
  r.bits = qformat == "int4_wo" ? 4 : 8;
  r.fp8 = qformat == "fp8";
  r.group_size = group_size.value_or(r.fp8 ? -1 : r.bits == 8 ? 64 : 128);
  r.group_chosen = group_size.has_value() || qformat != "int8_wo";
  if (std::find(std::begin(kGroups), std::end(kGroups), r.group_size) == std::end(kGroups))
    fail("--group_size is {}; expected 32, 64, 128 or -1 (one scale for a whole row)",
         r.group_size);
  if (r.fp8 && r.group_size != -1)
    fail("--group_size is {}; fp8 has one scale for a whole row (-1)", r.group_size);
  return r;
}

QuantPolicy::QuantPolicy(const QuantRecipe& recipe, const ModelConfig& config)
    : recipe_(recipe), tied_(config.tie_word_embeddings), matched_(recipe.exclude_modules.size()) {
  if (recipe) target_ = recipe.dtype();
}

bool QuantPolicy::excluded(const std::string& module) {
  bool found = false;
  for (size_t i = 0; i < matched_.size(); ++i)
    if (matches_parts(recipe_.exclude_modules[i], module)) found = matched_[i] = true;
  if (module == kHead && !recipe_.quantize_lm_head) found = true;
  if (module == kEmbedding && !recipe_.quantize_embedding)
    found |= !(tied_ && recipe_.quantize_lm_head);
  return found;
}

std::string QuantPolicy::sizes_that_fit(int64_t columns) const {
  std::string out;
  for (int64_t group : kGroups) {
    const bool exists = group > 0 ? columns % group == 0 : columns % (8 / recipe_.bits) == 0;
    if (exists) out += (out.empty() ? "" : ", ") + std::to_string(group);
  }
  return out.empty() ? "none" : out;
}

int64_t QuantPolicy::group_for(int64_t columns) const {
  if (recipe_.group_chosen || fits_row(target_, columns)) return recipe_.group_size;
  return fits_row(recipe_.dtype_of_groups(32), columns) ? 32 : -1;
}

std::string QuantPolicy::formats() const {
  if (recipe_.fp8 || groups_.empty()) return std::string(name(recipe_.dtype()));
  std::string out;
  for (int64_t group : groups_)
    out += (out.empty() ? "" : "+") + std::string(name(recipe_.dtype_of_groups(group)));
  return out;
}

DType QuantPolicy::dtype_of(const std::string& tensor, bool matrix, int64_t columns, DType source,
                            DType stays, int parts) {
  const std::string module = without_weight(tensor);
  if (!recipe_ || !matrix || module.empty() || !is_linear(module)) return stays;
  const std::string kind = kind_of(module);
  if (std::find(modules_.begin(), modules_.end(), kind) == modules_.end()) modules_.push_back(kind);
  if (excluded(module)) return stays;
  const int64_t group = group_for(columns);
  const DType target = recipe_.fp8 ? target_ : recipe_.dtype_of_groups(group);
  if (is_block_format(source) && source != target) {
    if (recipe_.keep_quantized) return source;
    if (requantized_++ == 0) requantized_example_ = tensor + " in " + std::string(name(source));
  }
  if (!fits_row(target, columns))
    fail(
        "--group_size {} does not divide the {} inputs of tensor '{}'{}; for {} these would do: {} "
        "(or leave it as it is with --exclude_modules {})",
        recipe_.group_size, columns, tensor,
        parts > 1 ? fmt::format(" on each of {} ranks", parts) : "", name(target),
        sizes_that_fit(columns), kind);
  ++chosen_;
  if (std::find(groups_.begin(), groups_.end(), group) == groups_.end()) groups_.push_back(group);
  return target;
}

void QuantPolicy::check_any() const {
  if (chosen_ == 0) fail("nothing is left to quantize: every linear layer is excluded or kept");
}

void QuantPolicy::check_excluded() const {
  for (size_t i = 0; i < matched_.size(); ++i) {
    if (matched_[i]) continue;
    std::string known;
    for (const std::string& m : modules_) known += (known.empty() ? "" : ", ") + m;
    fail(
        "--exclude_modules '{}' matches no module; the model has {} (in a layer: "
        "transformer.layers.0.mlp.fc; * and ? may stand for the rest)",
        recipe_.exclude_modules[i], known);
  }
}

void QuantPolicy::describe(QuantizationConfig& out) const {
  out.quant_algo = recipe_.fp8 ? "FP8" : recipe_.bits == 8 ? "W8A16" : "W4A16";
  out.group_size = groups_.size() == 1 ? groups_[0] : recipe_.group_size;
  out.has_zero_point = recipe_.has_zero_point;
  out.pre_quant_scale = false;
  out.exclude_modules = recipe_.exclude_modules;
  const auto add = [&](std::string_view module) {
    if (std::find(out.exclude_modules.begin(), out.exclude_modules.end(), module) ==
        out.exclude_modules.end())
      out.exclude_modules.emplace_back(module);
  };
  const bool table = recipe_.quantize_embedding || (tied_ && recipe_.quantize_lm_head);
  const bool head = recipe_.quantize_lm_head || (tied_ && recipe_.quantize_embedding);
  if (!head) add(kHead);
  if (!table) add(kEmbedding);
}

std::vector<std::string> QuantPolicy::notices() const {
  std::vector<std::string> out;
  if (!recipe_) return out;
  if (requantized_ > 0)
    out.push_back(fmt::format(
        "{} tensor{} quantized before ({}) and lose{} a second time; quantize the original model "
        "where it can be had",
        requantized_, requantized_ == 1 ? " was" : "s were", requantized_example_,
        requantized_ == 1 ? "s" : ""));
  if (recipe_.bits == 4 && recipe_.group_size < 0)
    out.push_back(
        "int4 with one scale for a whole row is unusual and loses much; --group_size 32, 64 or 128 "
        "is the rule");
  if (recipe_.bits == 4 && (recipe_.quantize_lm_head || recipe_.quantize_embedding))
    out.push_back(
        "4 bits for the lm_head or the embedding are unusual: the logits feel them most; int8_wo "
        "is safer there");
  if (recipe_.bits == 8 && recipe_.has_zero_point)
    out.push_back(
        "int8 with a minimum is unusual: symmetric int8 is as good for weights around zero, and "
        "faster");
  if (tied_ && recipe_.quantize_lm_head != recipe_.quantize_embedding)
    out.push_back(
        "lm_head and the embedding are one table in this model (tied): both are quantized");
  return out;
}

}  // namespace tokamak

#include "api/lora_adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "formats/json_fields.h"
#include "models/family.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

// What PEFT can do and this program does not.
void refuse_other_methods(const JsonFields& f) {
  const auto refuse = [&](const std::string& what, const std::string& expected) {
    fail("'{}': {} is not supported; expected {}", f.source(), what, expected);
  };
  if (const auto type = f.find_string("peft_type"); type && *type != "LORA")
    refuse("peft_type " + *type, "LORA");
  for (const char* flag : {"use_dora", "use_qalora", "use_bdlora", "lora_bias"})
    if (f.has(flag) && (!f.find(flag)->is_boolean() || *f.find_bool(flag)))
      refuse(flag, "plain LoRA (false)");
  if (const auto bias = f.find_string("bias"); bias && *bias != "none")
    refuse("bias '" + *bias + "'", "none");
  for (const char* list : {"modules_to_save", "trainable_token_indices", "layer_replication",
                           "target_parameters", "alora_invocation_tokens", "kasa_config",
                           "monteclora_config", "velora_config", "arrow_config"})
    if (f.has(list) && !f.find(list)->empty()) refuse(list, "none");
  // These change the model's own weights, which the adapter is then a difference to.
  if (const Json* init = f.find("init_lora_weights"); init && init->is_string()) {
    const auto kind = init->get<std::string>();
    for (const char* changes : {"pissa", "olora", "corda", "loftq", "lora_ga"})
      if (kind.starts_with(changes)) refuse("init_lora_weights '" + kind + "'", "true or gaussian");
  }
}

// Values of single modules (alpha_pattern) by the end of their names.
class Pattern {
 public:
  Pattern(const JsonFields& f, const char* field) {
    const auto object = f.object(field);
    if (!object) return;
    for (const auto& [key, value] : object->json().items()) {
      if (!value.is_number() || key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP"
                                                      "QRSTUVWXYZ0123456789_.") != key.npos)
        fail("'{}': {} has '{}'; expected names of modules with numbers", f.source(), field, key);
      values_.emplace_back(key, value.get<double>());
    }
  }
  double of(const std::string& module, double other) const {
    for (const auto& [key, value] : values_)
      if (module == key || module.ends_with("." + key)) return value;
    return other;
  }

 private:
  std::vector<std::pair<std::string, double>> values_;
};

std::optional<LoraKind> kind_of(const std::string& target) {
  static constexpr std::pair<std::string_view, LoraKind> kLeaves[] = {
      {".attention.q.weight", LoraKind::q}, {".attention.k.weight", LoraKind::k},
      {".attention.v.weight", LoraKind::v}, {".attention.dense.weight", LoraKind::o},
      {".mlp.fc.weight", LoraKind::gate},   {".mlp.gate.weight", LoraKind::up},
      {".mlp.proj.weight", LoraKind::down},
  };
  for (const auto& [leaf, kind] : kLeaves)
    if (target.ends_with(leaf)) return kind;
  return std::nullopt;
}

class Reader {
 public:
  Reader(const fs::path& directory, const ModelConfig& model)
      : config_path_((directory / "adapter_config.json").string()),
        json_(load_json(config_path_)),
        fields_(json_, config_path_),
        model_(model),
        names_(family_of_architecture(model.architecture, config_path_).hf_names),
        alphas_(fields_, "alpha_pattern") {
    refuse_other_methods(fields_);
    rank_stabilized_ = fields_.find_bool("use_rslora").value_or(false);
    alpha_ = fields_.find_float("lora_alpha").value_or(8);
    const fs::path weights = directory / "adapter_model.safetensors";
    std::error_code ignored;
    if (!fs::is_regular_file(weights, ignored))
      fail("'{}': there is no adapter_model.safetensors (a pickled adapter_model.bin is not read)",
           directory.string());
    adapter_.file = std::make_unique<SafetensorsFile>(weights);
  }

  LoraAdapter read() {
    std::vector<WeightRule> rules;
    for (const std::string& prefix : names_.prefixes) {
      rules = weight_rules(names_, model_, prefix, "");
      if (std::ranges::any_of(rules, [&](const WeightRule& r) { return find(r, "A") != nullptr; }))
        break;
    }
    for (const WeightRule& r : rules) add(r);
    for (const auto& [name, tensor] : adapter_.file->tensors())
      if (!used_.contains(name))
        fail(
            "'{}': tensor '{}' is of no linear that takes adapters in this model (attention and "
            "MLP of its {} layers)",
            path(), name, model_.num_hidden_layers);
    if (adapter_.matrices.empty()) fail("'{}' holds no adapter", path());
    return std::move(adapter_);
  }

 private:
  std::string path() const { return adapter_.file->file().path().string(); }

  static std::string module_of(const WeightRule& r) {
    constexpr std::string_view kWeight = ".weight";
    return r.source.substr(0, r.source.size() - std::min(r.source.size(), kWeight.size()));
  }
  const TensorView* find(const WeightRule& r, const char* which) {
    if (r.columns == 0 || !r.source.ends_with(".weight") || !kind_of(r.target)) return nullptr;
    const std::string name = fmt::format("base_model.model.{}.lora_{}.weight", module_of(r), which);
    const auto it = adapter_.file->tensors().find(name);
    if (it == adapter_.file->tensors().end()) return nullptr;
    used_.insert(name);
    return &it->second;
  }

  void add(const WeightRule& r) {
    const TensorView *a = find(r, "A"), *b = find(r, "B");
    if (!a && !b) return;
    const std::string module = module_of(r);
    if (!a || !b) fail("'{}': {} has only one of lora_A and lora_B", path(), module);
    if (a->shape.rank() != 2 || b->shape.rank() != 2 || a->shape[0] != b->shape[1] ||
        a->shape[0] < 1 || a->shape[1] != r.columns || b->shape[0] != r.source_rows)
      fail("'{}': {}: lora_A is {} and lora_B {}; expected [r, {}] and [{}, r]", path(), module,
           a->shape.str(), b->shape.str(), r.columns, r.source_rows);
    const auto rank = static_cast<double>(a->shape[0]);
    const double alpha = alphas_.of(module, alpha_);
    LoraMatrices m{layer_of(r.target), *kind_of(r.target),
                   static_cast<float>(alpha / (rank_stabilized_ ? std::sqrt(rank) : rank)), *a, *b};
    if (!r.ranges.empty()) m.b = gather(*b, r);
    adapter_.matrices.push_back(m);
  }

  static int64_t layer_of(const std::string& target) {
    return std::stoll(target.substr(std::string("transformer.layers.").size()));
  }

  // The rows of a fused linear that are this one's.
  TensorView gather(const TensorView& b, const WeightRule& r) {
    std::vector<std::byte>& rows = adapter_.gathered.emplace_back();
    for (const RowRange& range : r.ranges)
      rows.insert(rows.end(), b.row(range.begin), b.row(range.begin + range.rows));
    return {b.dtype, Shape{r.rows, b.shape[1]}, rows.data()};
  }

  const std::string config_path_;
  const Json json_;
  const JsonFields fields_;
  const ModelConfig& model_;
  const WeightNames names_;
  const Pattern alphas_;
  bool rank_stabilized_ = false;
  double alpha_ = 8;
  LoraAdapter adapter_;
  std::set<std::string> used_;
};

}  // namespace

LoraAdapter read_lora_adapter(const fs::path& directory, const ModelConfig& model) {
  return Reader(directory, model).read();
}

}  // namespace tokamak

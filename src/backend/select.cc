#include "backend/backend.h"

namespace tokamak {
namespace {

bool takes_layout(const Tactic& tactic, const OpSignature& signature, std::string_view layout) {
  for (size_t i = 0; i < signature.inputs.size(); ++i)
    if (is_matrix_weight(signature.inputs[i]) &&
        tactic.weight_layout(signature, static_cast<int>(i)) != layout)
      return false;
  return true;
}

}  // namespace

void Backend::add_plugin(std::shared_ptr<const PluginLibrary>) {
  fail("the '{}' backend takes no plug-ins", name());
}

const Tactic* select_tactic(const Backend& backend, const OpSignature& signature, int64_t tokens,
                            std::string_view layout) {
  const Tactic* best = nullptr;
  double best_us = 0;
  for (const Tactic* tactic : backend.tactics(signature.op)) {
    if (!tactic->supports(signature)) continue;
    if (!layout.empty() && !takes_layout(*tactic, signature, layout)) continue;
    const double us = tactic->estimate_us(signature, tokens);
    if (best != nullptr && us > best_us) continue;  // equal: the later, better one
    best = tactic;
    best_us = us;
  }
  return best;
}

const Tactic* find_tactic(const Backend& backend, Op op, std::string_view name) {
  for (const Tactic* tactic : backend.tactics(op))
    if (tactic->name() == name) return tactic;
  return nullptr;
}

bool can_store(const Backend& backend, const ValueType& weight, std::string_view layout) {
  std::vector<int64_t> sizes;
  for (const Dim& d : weight.shape) sizes.push_back(d.size);
  const WeightLayout* l = backend.layout(layout);
  return l && l->supports(weight.dtype, Shape(std::span<const int64_t>(sizes)));
}

}  // namespace tokamak

#include "compile/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr double kPrune = 3;  // estimates above this many times the best are not timed
constexpr size_t kMaxCandidates = 6;

OpSignature shared_signature(const Plan& plan, const PlanStep& step) {
  OpSignature s = plan.signature(step);
  if (s.op == Op::attention) s.attrs.set("layer", int64_t{0});
  if (s.attrs.has("x_scale")) s.attrs.set("x_scale", 1.0);
  return s;
}

std::vector<Candidate> candidates_of(const Backend& backend, const OpSignature& s) {
  std::vector<Candidate> list;
  for (const Tactic* t : backend.tactics(s.op)) {
    if (!t->supports(s)) continue;
    Candidate c{t, {}};
    bool known = true;
    for (size_t i = 0; i < s.inputs.size(); ++i) {
      if (!is_matrix_weight(s.inputs[i])) continue;
      c.layouts.emplace_back(t->weight_layout(s, static_cast<int>(i)));
      known = known && can_store(backend, s.inputs[i], c.layouts.back());
    }
    if (known) list.push_back(std::move(c));
  }
  return list;
}

}  // namespace

std::vector<Group> make_groups(const Plan& plan, const Backend& backend) {
  std::vector<Group> groups;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    OpSignature s = shared_signature(plan, step);
    std::string key = s.key();
    if (s.op == Op::attention) key += fmt::format(" kv={}", name(plan.kv_dtype));
    const auto [it, added] = known.emplace(key, groups.size());
    if (added) {
      Group g{std::move(s), std::move(key), {}, {}, is_row_step(plan, step), {}, {}, {}, {}};
      for (const int32_t v : step.inputs)
        if (plan.values[v].storage == Storage::weight)
          g.weights.push_back(&plan.weights[plan.values[v].base]);
      g.candidates = candidates_of(backend, g.signature);
      if (g.candidates.empty())
        fail("backend '{}' has no tactic for {} of '{}': {}", backend.name(), name(g.signature.op),
             step.name, g.key);
      groups.push_back(std::move(g));
    }
    groups[it->second].steps.push_back(i);
  }
  return groups;
}

std::vector<const Tactic*> prune(const Group& g, int32_t bucket) {
  std::vector<std::pair<double, const Tactic*>> ranked;
  for (const Candidate& c : g.candidates)
    ranked.emplace_back(c.tactic->estimate_us(g.signature, bucket), c.tactic);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<const Tactic*> kept;
  for (const auto& [us, tactic] : ranked)
    if (kept.empty() || (us <= kPrune * ranked[0].first && kept.size() < kMaxCandidates))
      kept.push_back(tactic);
  return kept;
}

}  // namespace tokamak

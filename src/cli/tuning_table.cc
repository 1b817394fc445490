#include "cli/tuning_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "compile/groups.h"
#include "engine/plan_check.h"

namespace tokamak::cli {
namespace {

// Steps that were tuned together and read their weights alike.
struct Alike {
  const PlanStep* first;
  bool rows;
  std::string weights, layouts;  // "q4_1 960x576", "rows16"
  size_t steps = 1;
};

std::string signature_key(const Plan& plan, const PlanStep& step) {
  OpSignature s = plan.signature(step);
  if (s.op == Op::attention) s.attrs.set("layer", int64_t{0});
  return s.key();
}

std::vector<Alike> alike_steps(const Plan& plan) {
  std::vector<Alike> list;
  std::map<std::string, size_t> known;
  for (const PlanStep& step : plan.steps) {
    std::vector<std::string> weights, layouts;
    for (const int32_t i : step.inputs) {
      const PlanValue& v = plan.values[i];
      if (v.storage != Storage::weight || !is_matrix_weight(v.type)) continue;
      const PlanWeight& w = plan.weights[v.base];
      weights.push_back(fmt::format("{} {}", name(w.dtype), fmt::join(w.shape, "x")));
      layouts.push_back(w.layout);
    }
    weights.erase(std::unique(weights.begin(), weights.end()), weights.end());
    layouts.erase(std::unique(layouts.begin(), layouts.end()), layouts.end());
    Alike a{&step, is_row_step(plan, step), fmt::format("{}", fmt::join(weights, ", ")),
            fmt::format("{}", fmt::join(layouts, ", "))};
    const auto [it, added] =
        known.emplace(signature_key(plan, step) + " " + a.layouts, list.size());
    if (added)
      list.push_back(std::move(a));
    else
      ++list[it->second].steps;
  }
  return list;
}

std::string with_time(const TacticChoice& c) {
  return c.us > 0 ? fmt::format("{} {:.1f} us", c.tactic, c.us) : c.tactic;
}

// "linear.a 12.3 us; lost: linear.b 14.0 (+14 %)", and how many were timed.
std::string losers(const TacticChoice& c) {
  if (c.us <= 0) return c.tactic + ", not timed";
  std::string text = fmt::format("{} {:.1f} us", c.tactic, c.us);
  for (size_t i = 0; i < c.losers.size(); ++i) {
    const auto& [tactic, us] = c.losers[i];
    text += fmt::format("{} {} {:.1f} ({:+.0f} %)", i == 0 ? "; lost:" : ",", tactic, us,
                        100 * (us / c.us - 1));
  }
  return text + fmt::format("; {} timed", c.losers.size() + 1);
}

const TacticChoice& used(const PlanStep& step, int64_t n) {
  for (const TacticChoice& c : step.choices)
    if (n <= c.bucket) return c;
  return step.choices.back();
}

}  // namespace

std::string tuning_table(const Plan& plan) {
  std::string text = fmt::format("  {:16} {:>5}  {:18} {:12} {}\n", "op", "steps", "weights",
                                 "layout", "tactic: 1 token … largest step");
  for (const Alike& a : alike_steps(plan)) {
    const TacticChoice &first = a.first->choices.front(), &last = a.first->choices.back();
    text += fmt::format("  {:16} {:>5}  {:18} {:12} {}", name(a.first->op), a.steps, a.weights,
                        a.layouts, with_time(first));
    if (&first != &last)
      text +=
          fmt::format(" … {} ({} {})", with_time(last), last.bucket, a.rows ? "rows" : "tokens");
    text += "\n";
  }
  return text;
}

std::string losers_table(const Plan& plan) {
  std::string text;
  for (const Alike& a : alike_steps(plan)) {
    text += fmt::format("{} ({} step{}){}{}\n", a.first->name, a.steps, a.steps == 1 ? "" : "s",
                        a.weights.empty() ? "" : " ", a.weights);
    for (const TacticChoice& c : a.first->choices)
      text += fmt::format("  ≤{} {}: {}\n", c.bucket, a.rows ? "rows" : "tokens", losers(c));
  }
  return text;
}

std::string step_losers_table(const Plan& plan, int64_t tokens, int64_t rows) {
  std::string text;
  double sum = 0;
  for (const Alike& a : alike_steps(plan)) {
    const TacticChoice& c = used(*a.first, a.rows ? rows : tokens);
    const double us = c.us * static_cast<double>(a.steps);
    sum += us;
    text += fmt::format("{:10.1f} us  {} x {} {}: {}\n", us, a.steps, name(a.first->op), a.weights,
                        losers(c));
  }
  return text + fmt::format("{:10.1f} us  together, as tuned\n", sum);
}

}  // namespace tokamak::cli

#include "compile/tuner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>

#include "base/log.h"
#include "base/progress.h"
#include "compile/pack.h"
#include "formats/atomic_output.h"
#include "tokamak/version.h"

namespace tokamak {
namespace {

constexpr double kPrune = 3;  // estimates above this many times the best are not timed
constexpr size_t kMaxCandidates = 6;
constexpr int kTimerVersion = 2;  // of the way of timing; part of the device key

using Layouts = std::vector<std::string>;  // of a signature's matrix weights, in order

// Steps with equal signatures; attention's layer number does not matter.
struct Group {
  OpSignature signature;
  std::string key;
  std::vector<size_t> steps;
  std::vector<const PlanWeight*> weights;
  bool rows = false;
};

struct Candidate {
  const Tactic* tactic;
  Layouts layouts;
};

OpSignature shared_signature(const Plan& plan, const PlanStep& step) {
  OpSignature s = plan.signature(step);
  if (s.op == Op::attention) s.attrs.set("layer", int64_t{0});
  return s;
}

std::vector<Group> make_groups(const Plan& plan) {
  std::vector<Group> groups;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanStep& step = plan.steps[i];
    OpSignature s = shared_signature(plan, step);
    std::string key = s.key();
    if (s.op == Op::attention) key += fmt::format(" kv={}", name(plan.kv_dtype));
    const auto [it, added] = known.emplace(key, groups.size());
    if (added) {
      Group g{std::move(s), std::move(key), {}, {}, is_row_step(plan, step)};
      for (const int32_t v : step.inputs)
        if (plan.values[v].storage == Storage::weight)
          g.weights.push_back(&plan.weights[plan.values[v].base]);
      groups.push_back(std::move(g));
    }
    groups[it->second].steps.push_back(i);
  }
  return groups;
}

bool is_matrix_weight(const ValueType& t) { return t.is_weight && t.shape.size() >= 2; }

std::vector<Candidate> candidates_of(const Backend& backend, const OpSignature& s) {
  std::vector<Candidate> list;
  for (const Tactic* t : backend.tactics(s.op)) {
    if (!t->supports(s)) continue;
    Candidate c{t, {}};
    bool known = true;
    for (size_t i = 0; i < s.inputs.size(); ++i) {
      if (!is_matrix_weight(s.inputs[i])) continue;
      c.layouts.emplace_back(t->weight_layout(s, static_cast<int>(i)));
      const WeightLayout* layout = backend.layout(c.layouts.back());
      std::vector<int64_t> sizes;
      for (const Dim& d : s.inputs[i].shape) sizes.push_back(d.size);
      known = known && layout && layout->supports(s.inputs[i].dtype, Shape(std::span(sizes)));
    }
    if (known) list.push_back(std::move(c));
  }
  return list;
}

// Those worth timing for this bucket, best estimate first.
std::vector<const Tactic*> prune(const std::vector<Candidate>& all, const OpSignature& s,
                                 int32_t bucket) {
  std::vector<std::pair<double, const Tactic*>> ranked;
  for (const Candidate& c : all) ranked.emplace_back(c.tactic->estimate_us(s, bucket), c.tactic);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<const Tactic*> kept;
  for (const auto& [us, tactic] : ranked)
    if (kept.empty() || (us <= kPrune * ranked[0].first && kept.size() < kMaxCandidates))
      kept.push_back(tactic);
  return kept;
}

class Chooser {
 public:
  Chooser(Plan& plan, Backend& backend, WeightSource& source, TimingCache& cache,
          const TuneOptions& options)
      : plan_(plan),
        backend_(backend),
        source_(source),
        cache_(cache),
        options_(options),
        device_(fmt::format("{}; kernels {}; timing {}", backend.properties().key, kKernelVersion,
                            kTimerVersion)) {}

  TuneReport run() {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Group> groups = make_groups(plan_);
    report_.signatures = static_cast<int>(groups.size());
    std::vector<std::vector<Candidate>> candidates;
    for (const Group& g : groups) {
      candidates.push_back(candidates_of(backend_, g.signature));
      if (candidates.back().empty())
        fail("backend '{}' has no tactic for {} of '{}': {}", backend_.name(), name(g.signature.op),
             plan_.steps[g.steps[0]].name, g.key);
    }
    std::vector<std::vector<TacticChoice>> choices;
    std::vector<Layouts> layouts;
    Progress progress("tuning", static_cast<int64_t>(groups.size()), "signatures");
    for (size_t i = 0; i < groups.size(); ++i) {
      auto [list, layout] = choose(groups[i], candidates[i]);
      choices.push_back(std::move(list));
      layouts.push_back(std::move(layout));
      progress.add(1, std::string(name(groups[i].signature.op)));
    }
    if (report_.timed > 0) progress.finish();
    for (size_t i = 0; i < groups.size(); ++i)
      for (const size_t step : groups[i].steps) {
        plan_.steps[step].choices = choices[i];
        store_weights(plan_.steps[step], layouts[i]);
      }
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report_;
  }

 private:
  // Times of one group for one bucket: measured, remembered, or estimated.
  std::vector<TacticTimes> times_of(const Group& g, const std::vector<Candidate>& all,
                                    const std::vector<int32_t>& buckets) {
    std::vector<TacticTimes> result;
    std::unique_ptr<TacticTimer> timer;
    for (const int32_t bucket : buckets) {
      throw_if_interrupted();
      if (const TacticTimes* known = cache_.find(device_, g.key, bucket); known && options_.time) {
        result.push_back(*known);
        ++report_.cached;
        continue;
      }
      TacticTimes times;
      if (options_.time) {
        if (!timer)
          timer = std::make_unique<TacticTimer>(backend_, source_, g.signature, g.weights,
                                                options_.timer);
        times = timer->time(prune(all, g.signature, bucket), bucket);
        cache_.put(device_, g.key, bucket, times);
        ++report_.timed;
      } else {
        for (const Candidate& c : all)
          times[std::string(c.tactic->name())] = c.tactic->estimate_us(g.signature, bucket);
      }
      result.push_back(std::move(times));
    }
    return result;
  }

  std::pair<std::vector<TacticChoice>, Layouts> choose(const Group& g,
                                                       const std::vector<Candidate>& all) {
    const std::vector<int32_t>& buckets = g.rows ? options_.row_buckets : options_.token_buckets;
    const std::vector<TacticTimes> times = times_of(g, all, buckets);
    if (options_.deterministic) return one_choice(g, all, buckets, times);
    const Layouts layouts = best_layouts(g, all, buckets, times);
    std::vector<TacticChoice> choices;
    for (size_t b = 0; b < buckets.size(); ++b) {
      TacticChoice c = best_tactic(g, all, layouts, buckets[b], times[b]);
      if (!options_.time && !choices.empty() && choices.back().tactic == c.tactic)
        choices.back().bucket = c.bucket;
      else
        choices.push_back(std::move(c));
    }
    return {std::move(choices), layouts};
  }

  // One tactic for all buckets: the fastest over them, those that count most first.
  std::pair<std::vector<TacticChoice>, Layouts> one_choice(
      const Group& g, const std::vector<Candidate>& all, const std::vector<int32_t>& buckets,
      const std::vector<TacticTimes>& times) const {
    std::vector<double> score(all.size());
    for (size_t b = 0; b < buckets.size(); ++b) {
      std::vector<double> us;
      for (const Candidate& c : all) us.push_back(tactic_time(g, all, c, buckets[b], times[b]));
      const double best = *std::min_element(us.begin(), us.end());
      for (size_t c = 0; c < all.size(); ++c)
        score[c] += bucket_weight(buckets[b]) * us[c] / std::max(best, 1e-9);
    }
    const Candidate& chosen =
        all[static_cast<size_t>(std::min_element(score.begin(), score.end()) - score.begin())];
    std::vector<TacticChoice> choices;
    for (size_t b = 0; b < buckets.size(); ++b)
      if (options_.time)
        choices.push_back(make_choice(*chosen.tactic, buckets[b], times[b]));
      else
        choices = {make_choice(*chosen.tactic, buckets[b], {})};
    return {std::move(choices), chosen.layouts};
  }

  // The time of one tactic; where it was not timed, scaled from estimates.
  double tactic_time(const Group& g, const std::vector<Candidate>& all, const Candidate& one,
                     int32_t bucket, const TacticTimes& times) const {
    const auto it = times.find(std::string(one.tactic->name()));
    if (it != times.end()) return it->second;
    double best = std::numeric_limits<double>::max(), estimated_best = best;
    for (const Candidate& c : all)
      estimated_best = std::min(estimated_best, c.tactic->estimate_us(g.signature, bucket));
    for (const auto& [tactic, us] : times) best = std::min(best, us);
    const double estimate = one.tactic->estimate_us(g.signature, bucket);
    return best * std::max(1.0, estimate / std::max(estimated_best, 1e-9));
  }

  // The time of the best tactic with these layouts; where none was timed, scaled from estimates.
  double layout_time(const Group& g, const std::vector<Candidate>& all, const Layouts& layouts,
                     int32_t bucket, const TacticTimes& times) const {
    double timed = std::numeric_limits<double>::max(), estimated = timed, estimated_best = timed;
    double best = timed;
    for (const Candidate& c : all) {
      const double estimate = c.tactic->estimate_us(g.signature, bucket);
      estimated_best = std::min(estimated_best, estimate);
      const auto it = times.find(std::string(c.tactic->name()));
      if (it != times.end()) best = std::min(best, it->second);
      if (c.layouts != layouts) continue;
      estimated = std::min(estimated, estimate);
      if (it != times.end()) timed = std::min(timed, it->second);
    }
    return std::min(timed, best * std::max(1.0, estimated / std::max(estimated_best, 1e-9)));
  }

  Layouts best_layouts(const Group& g, const std::vector<Candidate>& all,
                       const std::vector<int32_t>& buckets, const std::vector<TacticTimes>& times) {
    std::vector<Layouts> options;
    for (const Candidate& c : all)
      if (std::find(options.begin(), options.end(), c.layouts) == options.end())
        options.push_back(c.layouts);
    if (options.size() == 1) return options[0];
    std::vector<double> score(options.size());
    for (size_t b = 0; b < buckets.size(); ++b) {
      std::vector<double> us;
      for (const Layouts& o : options) us.push_back(layout_time(g, all, o, buckets[b], times[b]));
      const double best = *std::min_element(us.begin(), us.end());
      for (size_t o = 0; o < options.size(); ++o)
        score[o] += bucket_weight(buckets[b]) * us[o] / std::max(best, 1e-9);
    }
    return options[static_cast<size_t>(std::min_element(score.begin(), score.end()) -
                                       score.begin())];
  }

  TacticChoice best_tactic(const Group& g, const std::vector<Candidate>& all,
                           const Layouts& layouts, int32_t bucket, const TacticTimes& times) const {
    const Tactic* best = nullptr;
    double best_us = 0;
    bool best_timed = false;
    for (const Candidate& c : all) {
      if (c.layouts != layouts) continue;
      const auto it = times.find(std::string(c.tactic->name()));
      const bool timed = it != times.end();
      const double us = timed ? it->second : c.tactic->estimate_us(g.signature, bucket);
      // Equal: the later, which the backend lists as the better one.
      if (best && (best_timed > timed || (best_timed == timed && us > best_us))) continue;
      best = c.tactic;
      best_us = us;
      best_timed = timed;
    }
    TOKAMAK_ASSERT(best);
    return make_choice(*best, bucket, options_.time ? times : TacticTimes{});
  }

  // With the times of those that lost.
  static TacticChoice make_choice(const Tactic& tactic, int32_t bucket, const TacticTimes& times) {
    TacticChoice choice{bucket, std::string(tactic.name()), 0, {}};
    for (const auto& [other, us] : times) {
      if (other == choice.tactic)
        choice.us = us;
      else
        choice.losers.emplace_back(other, us);
    }
    std::sort(choice.losers.begin(), choice.losers.end(), [](const auto& a, const auto& b) {
      return std::tie(a.second, a.first) < std::tie(b.second, b.first);
    });
    return choice;
  }

  // Points the step's matrix weights to a copy in the wanted layout, made when there is none yet.
  void store_weights(PlanStep& step, const Layouts& layouts) {
    size_t k = 0;
    for (int32_t& input : step.inputs) {
      const PlanValue value = plan_.values[input];
      if (value.storage != Storage::weight || !is_matrix_weight(value.type)) continue;
      const std::string& layout = layouts.at(k++);
      auto& stored = stored_[value.base];  // layout → plan value
      if (stored.empty())
        plan_.weights[value.base].layout = layout;
      else if (!stored.count(layout)) {
        PlanWeight copy = plan_.weights[value.base];
        copy.layout = layout;
        plan_.weights.push_back(std::move(copy));
        PlanValue other = value;
        other.name += "@" + layout;
        other.base = static_cast<int32_t>(plan_.weights.size()) - 1;
        plan_.values.push_back(std::move(other));
        stored.emplace(layout, static_cast<int32_t>(plan_.values.size()) - 1);
      }
      input = stored.emplace(layout, input).first->second;
    }
  }

  Plan& plan_;
  Backend& backend_;
  WeightSource& source_;
  TimingCache& cache_;
  const TuneOptions& options_;
  const std::string device_;
  TuneReport report_;
  std::map<int32_t, std::map<std::string, int32_t>> stored_;
};

}  // namespace

std::vector<int32_t> power_buckets(int64_t most) {
  std::vector<int32_t> buckets = {1};
  while (buckets.back() < most) buckets.push_back(buckets.back() * 2);
  return buckets;
}

bool is_row_step(const Plan& plan, const PlanStep& step) {
  for (const int32_t o : step.outputs) {
    const SymShape& shape = plan.values[o].type.shape;
    if (!shape.empty() && shape[0].symbol == Symbol::sequences) return true;
  }
  return false;
}

TuneReport choose_tactics(Plan& plan, Backend& backend, WeightSource& source, TimingCache& cache,
                          const TuneOptions& options) {
  return Chooser(plan, backend, source, cache, options).run();
}

}  // namespace tokamak

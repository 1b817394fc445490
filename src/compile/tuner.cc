#include "compile/tuner.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <optional>

#include "base/log.h"
#include "base/progress.h"
#include "compile/pack.h"
#include "formats/atomic_output.h"
#include "tokamak/version.h"

namespace tokamak {
namespace {

constexpr double kPrune = 3;  // estimates above this many times the best are not timed
constexpr size_t kMaxCandidates = 6;
constexpr double kEqual = 1.02;        // times nearer than this are equal
constexpr double kSharingCost = 0.01;  // of a step's time, so that a weight is kept once
constexpr int kTimerVersion = 3;       // of the way of timing; part of the device key

using Layouts = std::vector<std::string>;  // of a signature's matrix weights, in order

struct Candidate {
  const Tactic* tactic;
  Layouts layouts;
};

// Steps with equal signatures; attention's layer number does not matter.
struct Group {
  OpSignature signature;
  std::string key;
  std::vector<size_t> steps;
  std::vector<const PlanWeight*> weights;
  bool rows = false;
  std::vector<Candidate> candidates;
  std::vector<TacticTimes> times;  // per bucket
  std::vector<TacticChoice> choices;
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
      Group g{std::move(s), std::move(key), {}, {}, is_row_step(plan, step), {}, {}, {}, {}};
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
    std::vector<Group> groups = make_groups(plan_);
    report_.signatures = static_cast<int>(groups.size());
    for (Group& g : groups) {
      g.candidates = candidates_of(backend_, g.signature);
      if (g.candidates.empty())
        fail("backend '{}' has no tactic for {} of '{}': {}", backend_.name(), name(g.signature.op),
             plan_.steps[g.steps[0]].name, g.key);
    }
    Progress progress("tuning", static_cast<int64_t>(groups.size()), "signatures");
    for (Group& g : groups) {
      g.times = times_of(g);
      decide(g, g.candidates);
      progress.add(1, std::string(name(g.signature.op)));
    }
    if (report_.timed > 0) progress.finish();
    share_weights(groups);
    for (const Group& g : groups)
      for (const size_t step : g.steps) {
        plan_.steps[step].choices = g.choices;
        store_weights(plan_.steps[step], g.layouts);
      }
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report_;
  }

 private:
  const std::vector<int32_t>& buckets_of(const Group& g) const {
    return g.rows ? options_.row_buckets : options_.token_buckets;
  }

  // Times of one group for its buckets: measured, remembered, or estimated.
  std::vector<TacticTimes> times_of(const Group& g) {
    std::vector<TacticTimes> result;
    std::unique_ptr<TacticTimer> timer;
    for (const int32_t bucket : buckets_of(g)) {
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
        times = timer->time(prune(g.candidates, g.signature, bucket), bucket);
        cache_.put(device_, g.key, bucket, times);
        ++report_.timed;
      } else {
        for (const Candidate& c : g.candidates)
          times[std::string(c.tactic->name())] = c.tactic->estimate_us(g.signature, bucket);
      }
      result.push_back(std::move(times));
    }
    return result;
  }

  // Sets the group's choices and layouts to the best of these candidates.
  void decide(Group& g, const std::vector<Candidate>& all) const {
    const std::vector<int32_t>& buckets = buckets_of(g);
    if (options_.deterministic) {
      std::tie(g.choices, g.layouts) = one_choice(g, all, buckets, g.times);
      return;
    }
    g.layouts = best_layouts(g, all, buckets, g.times);
    g.choices.clear();
    for (size_t b = 0; b < buckets.size(); ++b) {
      TacticChoice c = best_tactic(g, all, g.layouts, buckets[b], g.times[b]);
      if (!options_.time && !g.choices.empty() && g.choices.back().tactic == c.tactic)
        g.choices.back().bucket = c.bucket;
      else
        g.choices.push_back(std::move(c));
    }
  }

  // A weight that two groups want in two layouts is kept in one of them where no step of any size
  // becomes slower by more than kSharingCost.
  void share_weights(std::vector<Group>& groups) const {
    for (size_t w = 0; w < plan_.weights.size(); ++w) {
      std::map<size_t, size_t> users;  // group → its slot for this weight
      std::vector<std::string> wanted;
      for (size_t i = 0; i < groups.size(); ++i)
        for (const size_t step : groups[i].steps)
          if (const auto slot = slot_of(plan_.steps[step], static_cast<int32_t>(w))) {
            users.emplace(i, *slot);
            const std::string& layout = groups[i].layouts[*slot];
            if (std::find(wanted.begin(), wanted.end(), layout) == wanted.end())
              wanted.push_back(layout);
          }
      if (wanted.size() < 2) continue;
      std::vector<Group> best;
      double best_cost = kSharingCost;
      for (const std::string& layout : wanted) {
        std::vector<Group> changed = groups;
        if (!move_users(changed, users, layout)) continue;
        if (const double cost = slowdown(groups, changed); cost <= best_cost) {
          best_cost = cost;
          best = std::move(changed);
        }
      }
      if (!best.empty())
        groups = std::move(best);
      else
        log::info("'{}' is stored twice: {}", plan_.weights[w].names[0],
                  fmt::join(wanted, " and "));
    }
  }

  // Which of the step's matrix weights this one is.
  std::optional<size_t> slot_of(const PlanStep& step, int32_t weight) const {
    size_t slot = 0;
    for (const int32_t input : step.inputs) {
      const PlanValue& v = plan_.values[input];
      if (v.storage != Storage::weight || !is_matrix_weight(v.type)) continue;
      if (v.base == weight) return slot;
      ++slot;
    }
    return std::nullopt;
  }

  // False where a user has no tactic for the layout.
  bool move_users(std::vector<Group>& groups, const std::map<size_t, size_t>& users,
                  const std::string& layout) const {
    for (const auto& [i, slot] : users) {
      Group& g = groups[i];
      if (g.layouts[slot] == layout) continue;
      Layouts layouts = g.layouts;
      layouts[slot] = layout;
      std::vector<Candidate> some;
      for (const Candidate& c : g.candidates)
        if (c.layouts == layouts) some.push_back(c);
      if (some.empty()) return false;
      decide(g, some);
    }
    return true;
  }

  // By how much a step becomes slower at most, over the buckets of tokens.
  double slowdown(const std::vector<Group>& from, const std::vector<Group>& to) const {
    double most = 0;
    for (const int32_t tokens : options_.token_buckets) {
      double before = 0, after = 0;
      for (size_t i = 0; i < from.size(); ++i) {
        if (from[i].rows && tokens > options_.row_buckets.back()) continue;
        before += step_us(from[i], tokens);
        after += step_us(to[i], tokens);
      }
      most = std::max(most, after / std::max(before, 1e-9) - 1);
    }
    return most;
  }

  // Of all the group's steps together.
  double step_us(const Group& g, int32_t tokens) const {
    const std::vector<int32_t>& buckets = buckets_of(g);
    const auto b = static_cast<size_t>(
        std::lower_bound(buckets.begin(), buckets.end() - 1, tokens) - buckets.begin());
    const auto choice = std::find_if(g.choices.begin(), g.choices.end() - 1,
                                     [&](const TacticChoice& c) { return tokens <= c.bucket; });
    for (const Candidate& c : g.candidates)
      if (c.tactic->name() == choice->tactic)
        return static_cast<double>(g.steps.size()) *
               tactic_time(g, g.candidates, c, buckets[b], g.times[b]);
    TOKAMAK_ASSERT(false);
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
                       const std::vector<int32_t>& buckets,
                       const std::vector<TacticTimes>& times) const {
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
    const auto us_of = [&](const Candidate& c) {
      const auto it = times.find(std::string(c.tactic->name()));
      // What was not timed comes behind everything that was.
      return it != times.end() ? it->second : 1e12 + c.tactic->estimate_us(g.signature, bucket);
    };
    double least = std::numeric_limits<double>::max();
    for (const Candidate& c : all)
      if (c.layouts == layouts) least = std::min(least, us_of(c));
    const Tactic* best = nullptr;  // of equals the last, which the backend lists as the best
    for (const Candidate& c : all)
      if (c.layouts == layouts && us_of(c) <= kEqual * least) best = c.tactic;
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

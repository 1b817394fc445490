#include "compile/tuner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "base/log.h"
#include "base/progress.h"
#include "compile/choose.h"
#include "compile/groups.h"
#include "compile/pack.h"
#include "compile/sharing.h"
#include "formats/atomic_output.h"
#include "tokamak/version.h"

namespace tokamak {
namespace {

constexpr int kTimerVersion = 5;         // of the way of timing; part of the device key
constexpr double kNear = 1.1;            // times nearer than this are looked at twice
constexpr double kNoisy = 0.05;          // and so is what varied more than this
constexpr double kSecondLookPart = 0.5;  // of the time that the first one took, a second at least

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The fastest of both looks; what was not looked at again keeps its distance from the best.
BucketTimes merged(const BucketTimes& first, const BucketTimes& second) {
  const auto least = [](const TacticTimes& us) {
    return std::min_element(us.begin(), us.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->second;
  };
  const double gain = std::min(1.0, least(second.us) / std::max(least(first.us), 1e-9));
  BucketTimes both{first.us, gain < 1 ? second.noise : first.noise};
  for (auto& [tactic, us] : both.us) {
    const auto it = second.us.find(tactic);
    us = it != second.us.end() ? std::min(us, it->second) : std::round(us * gain * 100) / 100;
  }
  return both;
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
        device_(timing_device(backend)) {}

  TuneReport run() {
    const double start = now_s();
    std::vector<Group> groups = make_groups(plan_, backend_);
    report_.signatures = static_cast<int>(groups.size());
    Progress progress("tuning", static_cast<int64_t>(groups.size()), "signatures");
    for (Group& g : groups) {
      look(g);
      progress.add(1, std::string(name(g.signature.op)));
    }
    if (report_.timed > 0) look_again(std::max(1.0, kSecondLookPart * (now_s() - start)));
    if (report_.timed > 0) progress.finish();
    for (Group& g : groups) choose(g, g.candidates, options_);
    share_weights(groups, plan_, options_);
    for (const Group& g : groups)
      for (const size_t step : g.steps) {
        plan_.steps[step].choices = g.choices;
        store_weights(plan_.steps[step], g.layouts);
      }
    report_.seconds = now_s() - start;
    return report_;
  }

 private:
  // Times of the group for its buckets: measured, remembered, or estimated.
  void look(Group& g) {
    std::unique_ptr<TacticTimer> timer;
    for (const int32_t bucket : buckets_of(g, options_)) {
      throw_if_interrupted();
      if (!options_.time) {
        TacticTimes estimates;
        for (const Candidate& c : g.candidates)
          estimates[std::string(c.tactic->name())] = c.tactic->estimate_us(g.signature, bucket);
        g.times.push_back({std::move(estimates), 0});
        continue;
      }
      const std::vector<const Tactic*> tactics = prune(g, bucket);
      if (const BucketTimes* known = cache_.find(device_, g.key, bucket);
          known && covers(*known, tactics)) {
        g.times.push_back(*known);
        ++report_.cached;
        continue;
      }
      if (!timer) timer = make_timer(g);
      g.times.push_back(timer->time(tactics, bucket));
      cache_.put(device_, g.key, bucket, g.times.back());
      fresh_.push_back({&g, g.times.size() - 1});
      ++report_.timed;
      report_.timed_tactics += static_cast<int>(tactics.size());
    }
  }

  std::unique_ptr<TacticTimer> make_timer(const Group& g) {
    return std::make_unique<TacticTimer>(backend_, source_, g.signature, g.weights, options_.timer);
  }

  // Whether everything worth timing is there: a cache may be older than a tactic.
  static bool covers(const BucketTimes& times, const std::vector<const Tactic*>& tactics) {
    return std::all_of(tactics.begin(), tactics.end(),
                       [&](const Tactic* t) { return times.us.count(std::string(t->name())) > 0; });
  }

  struct Fresh {
    Group* group;
    size_t bucket;
  };

  // Near ties and what varied much, once more some time later: a machine's load changes within
  // seconds. What counts most in a step first, until the time is used up.
  void look_again(double seconds) {
    const auto counts = [&](const Fresh& f) {
      const int32_t bucket = buckets_of(*f.group, options_)[f.bucket];
      return bucket_weight(bucket) * contenders(f)[0].second *
             static_cast<double>(f.group->steps.size()) / bucket;
    };
    std::erase_if(fresh_, [&](const Fresh& f) { return !doubtful(f); });
    std::stable_sort(fresh_.begin(), fresh_.end(),
                     [&](const Fresh& a, const Fresh& b) { return counts(a) > counts(b); });
    const double end = now_s() + seconds;
    std::map<const Group*, std::unique_ptr<TacticTimer>> timer;  // the last group's
    for (const Fresh& f : fresh_) {
      throw_if_interrupted();
      if (now_s() > end) return;
      Group& g = *f.group;
      if (!timer.count(&g)) {
        timer.clear();
        timer.emplace(&g, make_timer(g));
      }
      std::vector<const Tactic*> tactics;
      for (const auto& [tactic, us] : contenders(f)) tactics.push_back(tactic);
      const int32_t bucket = buckets_of(g, options_)[f.bucket];
      g.times[f.bucket] = merged(g.times[f.bucket], timer.at(&g)->time(tactics, bucket));
      cache_.put(device_, g.key, bucket, g.times[f.bucket]);
      ++report_.second_looks;
    }
  }

  // The candidates near the best, which comes first, with their times.
  static std::vector<std::pair<const Tactic*, double>> contenders(const Fresh& f) {
    const BucketTimes& times = f.group->times[f.bucket];
    std::vector<std::pair<const Tactic*, double>> near;
    for (const Candidate& c : f.group->candidates)
      if (const auto it = times.us.find(std::string(c.tactic->name())); it != times.us.end())
        near.emplace_back(c.tactic, it->second);
    std::stable_sort(near.begin(), near.end(),
                     [](const auto& a, const auto& b) { return a.second < b.second; });
    const double most = near[0].second * (kNear + times.noise);
    std::erase_if(near, [&](const auto& n) { return n.second > most; });
    return near;
  }

  // Whether another look may change a choice.
  static bool doubtful(const Fresh& f) {
    const auto near = contenders(f);
    if (near.size() < 2) return false;
    const BucketTimes& times = f.group->times[f.bucket];
    return times.noise > kNoisy || near[1].second > equal_factor(times) * near[0].second;
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
  std::vector<Fresh> fresh_;  // what was measured now
  std::map<int32_t, std::map<std::string, int32_t>> stored_;
};

}  // namespace

std::string timing_device(const Backend& backend) {
  return fmt::format("{}; kernels {}; timing {}", backend.properties().key, kKernelVersion,
                     kTimerVersion);
}

std::vector<int32_t> power_buckets(int64_t most) {
  std::vector<int32_t> buckets = {1};
  while (buckets.back() < most) buckets.push_back(buckets.back() * 2);
  return buckets;
}

namespace {

// What the chosen tactics compiled for their signatures goes with the plan.
void keep_code(Plan& plan, const Backend& backend) {
  std::map<std::string, std::string> code;
  for (const PlanStep& step : plan.steps)
    for (const TacticChoice& c : step.choices)
      if (const Tactic* t = find_tactic(backend, step.op, c.tactic))
        for (CompiledCode& one : t->compiled_code(plan.signature(step)))
          code[std::move(one.key)] = std::move(one.bytes);
  plan.code.assign(code.begin(), code.end());
}

}  // namespace

TuneReport choose_tactics(Plan& plan, Backend& backend, WeightSource& source, TimingCache& cache,
                          const TuneOptions& options) {
  TuneReport report = Chooser(plan, backend, source, cache, options).run();
  keep_code(plan, backend);
  return report;
}

}  // namespace tokamak

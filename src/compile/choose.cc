#include "compile/choose.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr double kLeastEqual = 0.02, kMostEqual = 0.05;

// With the times of those that lost.
TacticChoice make_choice(const Tactic& tactic, int32_t bucket, const TacticTimes& times) {
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

// The time of one tactic; where it was not timed, scaled from estimates.
double tactic_time(const Group& g, const std::vector<Candidate>& all, const Candidate& one,
                   int32_t bucket, const TacticTimes& times) {
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
                   int32_t bucket, const TacticTimes& times) {
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
                     const std::vector<int32_t>& buckets) {
  std::vector<Layouts> options;
  for (const Candidate& c : all)
    if (std::find(options.begin(), options.end(), c.layouts) == options.end())
      options.push_back(c.layouts);
  if (options.size() == 1) return options[0];
  std::vector<double> score(options.size());
  for (size_t b = 0; b < buckets.size(); ++b) {
    std::vector<double> us;
    for (const Layouts& o : options)
      us.push_back(layout_time(g, all, o, buckets[b], g.times[b].us));
    const double best = *std::min_element(us.begin(), us.end());
    for (size_t o = 0; o < options.size(); ++o)
      score[o] += bucket_weight(buckets[b]) * us[o] / std::max(best, 1e-9);
  }
  return options[static_cast<size_t>(std::min_element(score.begin(), score.end()) - score.begin())];
}

// Among the candidates with the group's layouts.
TacticChoice best_tactic(const Group& g, const std::vector<Candidate>& all, int32_t bucket,
                         const BucketTimes& times, bool timed) {
  const auto us_of = [&](const Candidate& c) {
    const auto it = times.us.find(std::string(c.tactic->name()));
    // What was not timed comes behind everything that was.
    return it != times.us.end() ? it->second : 1e12 + c.tactic->estimate_us(g.signature, bucket);
  };
  double least = std::numeric_limits<double>::max();
  for (const Candidate& c : all)
    if (c.layouts == g.layouts) least = std::min(least, us_of(c));
  const Tactic* best = nullptr;  // of equals the last, which the backend lists as the best
  for (const Candidate& c : all)
    if (c.layouts == g.layouts && us_of(c) <= equal_factor(times) * least) best = c.tactic;
  TOKAMAK_ASSERT(best);
  return make_choice(*best, bucket, timed ? times.us : TacticTimes{});
}

// One tactic for all buckets: the fastest over them, those that count most first.
std::pair<std::vector<TacticChoice>, Layouts> one_choice(const Group& g,
                                                         const std::vector<Candidate>& all,
                                                         const std::vector<int32_t>& buckets,
                                                         bool timed) {
  std::vector<double> score(all.size());
  for (size_t b = 0; b < buckets.size(); ++b) {
    std::vector<double> us;
    for (const Candidate& c : all) us.push_back(tactic_time(g, all, c, buckets[b], g.times[b].us));
    const double best = *std::min_element(us.begin(), us.end());
    for (size_t c = 0; c < all.size(); ++c)
      score[c] += bucket_weight(buckets[b]) * us[c] / std::max(best, 1e-9);
  }
  const Candidate& chosen =
      all[static_cast<size_t>(std::min_element(score.begin(), score.end()) - score.begin())];
  std::vector<TacticChoice> choices;
  for (size_t b = 0; b < buckets.size(); ++b)
    if (timed)
      choices.push_back(make_choice(*chosen.tactic, buckets[b], g.times[b].us));
    else
      choices = {make_choice(*chosen.tactic, buckets[b], {})};
  return {std::move(choices), chosen.layouts};
}

}  // namespace

const std::vector<int32_t>& buckets_of(const Group& g, const TuneOptions& options) {
  return g.rows ? options.row_buckets : options.token_buckets;
}

double equal_factor(const BucketTimes& times) {
  return 1 + std::clamp(times.noise, kLeastEqual, kMostEqual);
}

void choose(Group& g, const std::vector<Candidate>& from, const TuneOptions& options) {
  const std::vector<int32_t>& buckets = buckets_of(g, options);
  if (options.deterministic) {
    std::tie(g.choices, g.layouts) = one_choice(g, from, buckets, options.time);
    return;
  }
  g.layouts = best_layouts(g, from, buckets);
  g.choices.clear();
  for (size_t b = 0; b < buckets.size(); ++b) {
    TacticChoice c = best_tactic(g, from, buckets[b], g.times[b], options.time);
    if (!options.time && !g.choices.empty() && g.choices.back().tactic == c.tactic)
      g.choices.back().bucket = c.bucket;
    else
      g.choices.push_back(std::move(c));
  }
}

StepTime step_time(const Group& g, int32_t tokens, const TuneOptions& options) {
  const std::vector<int32_t>& buckets = buckets_of(g, options);
  const auto b = static_cast<size_t>(std::lower_bound(buckets.begin(), buckets.end() - 1, tokens) -
                                     buckets.begin());
  const auto choice = std::find_if(g.choices.begin(), g.choices.end() - 1,
                                   [&](const TacticChoice& c) { return tokens <= c.bucket; });
  for (const Candidate& c : g.candidates)
    if (c.tactic->name() == choice->tactic) {
      const double us = static_cast<double>(g.steps.size()) *
                        tactic_time(g, g.candidates, c, buckets[b], g.times[b].us);
      return {us, us * g.times[b].noise};
    }
  TOKAMAK_ASSERT(false);
}

}  // namespace tokamak

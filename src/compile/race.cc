#include "compile/race.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr double kNever = std::numeric_limits<double>::max();
constexpr double kMostNoise = 0.25;

class Race {
 public:
  Race(size_t n, const std::function<double(size_t)>& measure, const RaceOptions& options)
      : measure_(measure), options_(options), laps_(n), least_(n, kNever), alive_(n, true) {}

  // Each round begins with another candidate: a change within a round hits another one each time.
  void round() {
    const size_t n = laps_.size();
    for (size_t k = 0; k < n; ++k) {
      const size_t i = (k + static_cast<size_t>(rounds_)) % n;
      if (!alive_[i]) continue;
      const double us = measure_(i);
      laps_[i].push_back(us);
      least_[i] = std::min(least_[i], us);
    }
    ++rounds_;
    leader_ = static_cast<size_t>(std::min_element(least_.begin(), least_.end()) - least_.begin());
    if (rounds_ >= 2) drop();
  }

  // Every other candidate that stayed is either clearly slower or equal, whichever way one looks.
  bool decided() const {
    for (size_t i = 0; i < laps_.size(); ++i) {
      if (!alive_[i] || i == leader_) continue;
      const double least = least_[i] / least_[leader_], middle = middle_ratio(i);
      const bool slower = least > 1 + options_.equal && middle > 1 + options_.equal;
      const bool equal = least < 1 + options_.equal && std::abs(middle - 1) < options_.equal;
      if (!slower && !equal) return false;
    }
    return repeated(leader_) < options_.equal;
  }

  RaceResult result() const {
    RaceResult r{least_, 0, rounds_};
    std::vector<double> spread;
    for (size_t i = 0; i < laps_.size(); ++i)
      if (alive_[i] && laps_[i].size() > 1) spread.push_back(repeated(i));
    if (spread.empty()) return r;
    std::nth_element(spread.begin(), spread.begin() + spread.size() / 2, spread.end());
    r.noise = std::min(spread[spread.size() / 2], kMostNoise);
    return r;
  }

  int rounds() const { return rounds_; }

 private:
  void drop() {
    for (size_t i = 0; i < laps_.size(); ++i) {
      if (!alive_[i] || i == leader_) continue;
      const double ratio = std::min(least_[i] / least_[leader_], middle_ratio(i));
      alive_[i] = ratio <= options_.hopeless &&
                  (rounds_ < options_.straggler_rounds || ratio <= options_.straggler);
    }
  }

  // The median over rounds of its time by the leader's in the same round.
  double middle_ratio(size_t i) const {
    std::vector<double> ratios;
    const size_t n = std::min(laps_[i].size(), laps_[leader_].size());
    for (size_t r = 0; r < n; ++r) ratios.push_back(laps_[i][r] / laps_[leader_][r]);
    const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(n / 2);
    std::nth_element(ratios.begin(), middle, ratios.end());
    return *middle;
  }

  // How far its second best round lies above the best: near 0 once the best was seen twice.
  double repeated(size_t i) const {
    std::vector<double> laps = laps_[i];
    if (laps.size() < 2) return kMostNoise;
    std::nth_element(laps.begin(), laps.begin() + 1, laps.end());
    return laps[1] / std::max(least_[i], 1e-9) - 1;
  }

  const std::function<double(size_t)>& measure_;
  const RaceOptions& options_;
  std::vector<std::vector<double>> laps_;  // of rounds 0, 1 … until it was dropped
  std::vector<double> least_;
  std::vector<bool> alive_;
  size_t leader_ = 0;
  int rounds_ = 0;
};

}  // namespace

RaceResult race(size_t candidates, const std::function<double(size_t)>& measure,
                const std::function<double()>& now, const RaceOptions& options) {
  TOKAMAK_ASSERT(candidates > 0);
  Race race(candidates, measure, options);
  const double start = now();
  do {
    race.round();
    if (race.rounds() >= options.min_rounds && race.decided()) break;
  } while (race.rounds() < options.max_rounds &&
           (race.rounds() < 2 || now() - start < options.seconds));
  return race.result();
}

}  // namespace tokamak

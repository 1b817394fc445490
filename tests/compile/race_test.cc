// Races on a made-up machine: its clock only moves when something runs, and its speed changes as
// that of a machine with a neighbour does.
#include "compile/race.h"

#include <gtest/gtest.h>

#include <random>

namespace tokamak {
namespace {

// Halves its speed and comes back, each state lasting `dwell` seconds on average; every lap varies
// by up to 1 %.
class Machine {
 public:
  Machine(std::vector<double> quiet_us, double dwell, double slowdown, uint32_t seed)
      : quiet_us_(std::move(quiet_us)), dwell_(dwell), slowdown_(slowdown), random_(seed) {
    busy_ = random_() % 2;
    until_ = lasts();
  }
  RaceResult race_now(const RaceOptions& options = {}) {
    return race(
        quiet_us_.size(), [this](size_t i) { return lap(i); }, [this] { return now_; }, options);
  }
  int laps() const { return laps_; }
  double now() const { return now_; }

 private:
  double lasts() { return std::exponential_distribution<double>(1 / dwell_)(random_); }
  // A thousand microseconds of launches: its parts run at whatever speed the machine has then.
  double lap(size_t i) {
    ++laps_;
    const double begin = now_;
    double work = 1e-3 * (1 + 0.01 * std::uniform_real_distribution<double>()(random_));
    while (work > 0) {
      const double speed = busy_ ? 1 / slowdown_ : 1;
      const double part = std::min(work, (until_ - now_) * speed);
      work -= part;
      now_ += part / speed;
      if (work > 0) {
        busy_ = !busy_;
        until_ = now_ + lasts();
      }
    }
    return quiet_us_[i] * (now_ - begin) / 1e-3;
  }

  std::vector<double> quiet_us_;
  double dwell_, slowdown_;
  std::mt19937 random_;
  bool busy_ = false;
  double now_ = 0, until_ = 0;
  int laps_ = 0;
};

size_t fastest(const RaceResult& r) {
  return static_cast<size_t>(std::min_element(r.us.begin(), r.us.end()) - r.us.begin());
}

TEST(Race, QuietMachineNeedsFewRoundsAndTellsCloseCandidatesApart) {
  const RaceOptions options;
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    Machine machine({100, 105, 140, 350}, 1e9, 1, seed);
    const RaceResult r = machine.race_now();
    EXPECT_EQ(fastest(r), 0u) << seed;
    EXPECT_EQ(r.rounds, options.min_rounds);
    EXPECT_LT(r.noise, 0.01);
    EXPECT_LE(machine.laps(), 3 * 4 + 2) << "stragglers stayed";
  }
}

// The old way, candidates one after the other, errs here whenever the load changes between them.
TEST(Race, ChangingLoadDoesNotChooseTheWrongOne) {
  for (const double dwell : {0.002, 0.01, 0.05, 1.0}) {
    int wrong = 0;
    double lost = 0;
    const int races = 300;
    for (uint32_t seed = 1; seed <= races; ++seed) {
      const std::vector<double> us = {118, 100, 112, 160, 104, 230};
      Machine machine(us, dwell, 2.2, seed);
      const size_t winner = fastest(machine.race_now());
      wrong += us[winner] > 105;
      lost += us[winner] / 100 - 1;
    }
    EXPECT_LE(wrong, races / 50) << "states of " << dwell << " s";
    EXPECT_LT(lost / races, 0.015) << "states of " << dwell << " s";
  }
}

TEST(Race, NoiseIsTold) {
  double quiet = 0, noisy = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    quiet += Machine({100, 101}, 1e9, 1, seed).race_now().noise / 20;
    noisy += Machine({100, 101}, 0.003, 2.5, seed).race_now().noise / 20;
  }
  EXPECT_LT(quiet, 0.01);
  EXPECT_GT(noisy, 2 * quiet);
}

TEST(Race, EndsInTime) {
  RaceOptions options;
  options.seconds = 0.01;
  Machine machine({100, 100.5, 101, 101.5}, 0.0004, 3, 7);
  const RaceResult r = machine.race_now(options);
  EXPECT_LT(machine.now(), 0.04);
  EXPECT_GE(r.rounds, 2);
  EXPECT_EQ(Machine({50}, 1e9, 1, 1).race_now().us.size(), 1u);
}

}  // namespace
}  // namespace tokamak

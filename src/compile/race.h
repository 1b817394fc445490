// Which of several candidates is the fastest on a machine whose speed changes while it is measured:
// candidates take turns in rounds, so that a change hits all of them, and a round is compared only
// with itself or with the best of all rounds.
#pragma once
#include <cstddef>
#include <functional>
#include <vector>

namespace tokamak {

struct RaceOptions {
  int min_rounds = 4, max_rounds = 12;
  double seconds = 0.4;      // no new round after it, but two rounds at least
  double hopeless = 3;       // slower than this after two rounds: out; more than a neighbour costs
  double straggler = 1.25;   // slower than this in minima and in the median of rounds: out
  int straggler_rounds = 4;  // after so many rounds
  double equal = 0.02;       // candidates nearer than this are not worth more rounds
};

struct RaceResult {
  std::vector<double> us;  // the least time of each candidate
  // How far the next best round of those who stayed lies above their best one, in the middle: what
  // a difference of `us` may be by chance.
  double noise = 0;
  int rounds = 0;
};

// measure(i) runs candidate i once and returns its µs; now() are the seconds on some clock.
RaceResult race(size_t candidates, const std::function<double(size_t)>& measure,
                const std::function<double()>& now, const RaceOptions& options);

}  // namespace tokamak

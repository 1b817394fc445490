// How long a step takes by its tokens, learned from the steps before.
#pragma once
#include <cstdint>

namespace tokamak {

// seconds = base + each × tokens, the line through what was seen, of which the recent counts most.
class StepTimes {
 public:
  void note(int64_t tokens, double seconds);
  // Whether steps of enough different sizes were seen.
  bool known() const;
  double seconds(int64_t tokens) const;
  // Tokens of the largest step that takes no longer.
  int64_t tokens_within(double seconds) const;

  // Prompt tokens that a step takes beside so many of running sequences: as many as keep it under
  // kSlower times the step without them, or under kShort seconds. At least kLeast.
  int64_t prompts_beside(int64_t running) const;
  static constexpr double kSlower = 2, kShort = 0.04;
  static constexpr int64_t kLeast = 8, kUntilKnown = 32;

 private:
  struct Line {
    double base = 0, each = 0;
  };
  Line line() const;

  double n_ = 0, x_ = 0, y_ = 0, xx_ = 0, xy_ = 0;  // sums, older terms fading
};

}  // namespace tokamak

#include "runtime/scheduler/step_times.h"

#include <algorithm>
#include <cmath>

namespace tokamak {
namespace {

constexpr double kFade = 0.98;        // of a term's weight, step by step
constexpr double kMostSpread = 4;     // a step that takes longer than so many times was disturbed
constexpr double kLeastTerms = 5;     // before anything is said
constexpr double kLeastVariance = 4;  // of tokens

}  // namespace

void StepTimes::note(int64_t tokens, double seconds) {
  const auto x = static_cast<double>(tokens);
  if (known()) seconds = std::min(seconds, kMostSpread * this->seconds(tokens));
  for (double* sum : {&n_, &x_, &y_, &xx_, &xy_}) *sum *= kFade;
  n_ += 1;
  x_ += x;
  y_ += seconds;
  xx_ += x * x;
  xy_ += x * seconds;
}

bool StepTimes::known() const {
  return n_ >= kLeastTerms && xx_ / n_ - x_ * x_ / (n_ * n_) >= kLeastVariance && y_ > 0;
}

// Neither part is negative.
StepTimes::Line StepTimes::line() const {
  const double each = (n_ * xy_ - x_ * y_) / (n_ * xx_ - x_ * x_);
  const double base = (y_ - each * x_) / n_;
  if (each <= 0) return {y_ / n_, 1e-9};
  if (base < 0) return {0, xy_ / xx_};
  return {base, each};
}

double StepTimes::seconds(int64_t tokens) const {
  const Line l = line();
  return l.base + l.each * static_cast<double>(tokens);
}

int64_t StepTimes::tokens_within(double seconds) const {
  const Line l = line();
  return static_cast<int64_t>(std::clamp((seconds - l.base) / l.each, 0.0, 1e9));
}

int64_t StepTimes::prompts_beside(int64_t running) const {
  if (!known()) return kUntilKnown;
  const double most = std::max(kSlower * seconds(running), kShort);
  return std::max(tokens_within(most) - running, kLeast);
}

}  // namespace tokamak

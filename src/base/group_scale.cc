// Scales of weight-only groups: from the extremes, and by search.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/group_codec.h"
#include "base/half.h"

namespace tokamak {
namespace {

constexpr int kLanes = 8;  // independent sums, so that the compiler may use vectors

float to_half(float x) { return f16_to_f32(f32_to_f16(x)); }

// extreme / levels as float16: the nearest, or the next one up where that would clip the extreme by
// more than a quarter of a step (scales so small that float16 has few digits left).
float half_step(float extreme, float levels) {
  uint16_t h = f32_to_f16(extreme / levels);
  if (std::abs(f16_to_f32(h)) * (levels + 0.25f) < std::abs(extreme)) ++h;
  return f16_to_f32(h);
}

// A group with weights, zero-padded to whole lanes. Scales do not change with the data's, so the
// search works on values whose largest magnitude is 1: no square over- or underflows.
struct Padded {
  std::vector<float> x, w;
  float unit = 0;

  Padded(const float* in, const float* weights, int64_t n) {
    const size_t size = static_cast<size_t>((n + kLanes - 1) / kLanes * kLanes);
    x.resize(size);
    w.resize(size);
    for (int64_t i = 0; i < n; ++i) unit = std::max(unit, std::abs(in[i]));
    if (unit == 0) return;
    for (int64_t i = 0; i < n; ++i) {
      x[static_cast<size_t>(i)] = in[i] / unit;
      w[static_cast<size_t>(i)] = weights ? weights[i] : 1.0f;
    }
  }
};

// Rounds 0 … 2^22 to the nearest integer without a call.
float nearest(float v) { return (v + 12582912.0f) - 12582912.0f; }

float level_of(float x, float inverse, float offset, float low, float high) {
  return nearest(std::min(std::max(x * inverse + offset, low), high));
}

float total(const float (&lanes)[kLanes]) {
  float sum = 0;
  for (float v : lanes) sum += v;
  return sum;
}

struct Levels {
  float low, high;
};

double error_of(const Padded& p, float scale, float minimum, Levels range) {
  const float inverse = scale != 0 ? 1 / scale : 0;
  float sums[kLanes] = {};
  for (size_t i = 0; i < p.x.size(); i += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      const float x = p.x[i + l];
      const float q = level_of(x, inverse, -minimum * inverse, range.low, range.high);
      const float e = scale * q + minimum - x;
      sums[l] += p.w[i + l] * e * e;
    }
  return total(sums);
}

struct Moments {
  float w, l, l2, x, lx;  // weighted sums of 1, level, level², x, level * x
};

Moments moments(const Padded& p, float inverse, float offset, Levels range) {
  float w[kLanes] = {}, l1[kLanes] = {}, l2[kLanes] = {}, x1[kLanes] = {}, lx[kLanes] = {};
  for (size_t i = 0; i < p.x.size(); i += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      const float x = p.x[i + l], weight = p.w[i + l];
      const float q = level_of(x, inverse, offset, range.low, range.high);
      w[l] += weight;
      l1[l] += weight * q;
      l2[l] += weight * q * q;
      x1[l] += weight * x;
      lx[l] += weight * q * x;
    }
  return {total(w), total(l1), total(l2), total(x1), total(lx)};
}

// The scale (and minimum) of least squares for the levels that a trial scale gives.
GroupScale fit(const Moments& s, bool has_min) {
  if (!has_min) return {s.l2 > 0 ? s.lx / s.l2 : 0, 0};
  const float determinant = s.w * s.l2 - s.l * s.l;
  if (!(determinant > 1e-12f * s.w * s.l2)) return {0, s.w > 0 ? s.x / s.w : 0};
  return {(s.w * s.lx - s.l * s.x) / determinant, (s.l2 * s.x - s.l * s.lx) / determinant};
}

// As a reader will see them: rounded to float16 in the data's own unit.
GroupScale stored(GroupScale s, float unit) {
  return {to_half(s.scale * unit), to_half(s.minimum * unit)};
}

// What a fit leaves of the squared error, up to the data's own power.
double residual(const Moments& s, GroupScale fitted) {
  return -double{fitted.scale} * s.lx - double{fitted.minimum} * s.x;
}

// Trial scales give levels, levels the best fit; one pass over the group each.
class Search {
 public:
  Search(const Padded& p, Levels range, bool has_min) : p_(p), range_(range), has_min_(has_min) {}

  void trial(float inverse, float minimum) {
    const Moments s = moments(p_, inverse, -minimum * inverse, range_);
    const GroupScale fitted = fit(s, has_min_);
    const double left = residual(s, fitted);
    if (fitted.scale == 0 || left >= left_) return;
    left_ = left;
    best_ = fitted;
  }

  // The best fit's own levels and their fit, as float16; `plain` where that is no better.
  GroupScale finish(GroupScale plain) {
    for (int pass = 0; pass < 2 && best_.scale != 0; ++pass) trial(1 / best_.scale, best_.minimum);
    const GroupScale half = stored(best_, p_.unit);
    if (!std::isfinite(half.scale) || !std::isfinite(half.minimum) || half.scale == 0) return plain;
    return error(half) < error(plain) ? half : plain;
  }

 private:
  double error(GroupScale s) const {
    return error_of(p_, s.scale / p_.unit, s.minimum / p_.unit, range_);
  }
  const Padded& p_;
  Levels range_;
  bool has_min_;
  GroupScale best_;
  double left_ = 0;
};

}  // namespace

GroupScale plain_scale(const float* x, int64_t n, int bits, bool has_min) {
  if (n == 0) return {};
  const auto [lo, hi] = std::minmax_element(x, x + n);
  if (has_min) {
    const float minimum = to_half(*lo), levels = bits == 8 ? 255.0f : 15.0f;
    return {half_step(std::max(*hi - minimum, 0.0f), levels), minimum};
  }
  if (bits == 8) return {half_step(std::max(*hi, -*lo), 127), 0};
  const float extreme = -*lo > *hi ? *lo : *hi;  // the extreme lies at level -8
  return {-half_step(extreme, 8), 0};
}

GroupScale best_scale(const float* x, const float* weights, int64_t n, int bits, bool has_min) {
  const GroupScale plain = plain_scale(x, n, bits, has_min);
  if (bits == 8) return plain;  // steps so fine that nothing is won
  const Padded p(x, weights, n);
  if (p.unit == 0) return plain;
  const Levels range = has_min ? Levels{0, 15} : Levels{-8, 7};
  Search search(p, range, has_min);
  const auto [lo, hi] = std::minmax_element(p.x.begin(), p.x.begin() + n);
  if (has_min) {
    const float width = *hi - *lo;
    if (width == 0) return plain;
    for (float levels : {14.2f, 15.0f, 15.8f, 16.6f, 17.4f, 18.2f})  // the range, clipped at last
      search.trial(levels / width, *lo);
    return search.finish(plain);
  }
  const float extreme = -*lo > *hi ? *lo : *hi;  // 1 or -1
  for (float level : {6.6f, 7.1f, 7.6f, 8.1f, 8.6f, 9.1f, 9.6f}) search.trial(-level / extreme, 0);
  for (float level : {7.0f, 7.6f, 8.2f}) search.trial(level / extreme, 0);  // the other way round
  return search.finish(plain);
}

}  // namespace tokamak

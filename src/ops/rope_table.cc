// Inverse frequencies as transformers' modeling_rope_utils computes them: single precision per
// element, double for the scalars.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/rope.h"

namespace tokamak {
namespace {

float power(double base, int64_t i, int64_t dim) {
  return std::pow(static_cast<float>(base), static_cast<float>(2 * i) / static_cast<float>(dim));
}

std::vector<float> plain(double base, int64_t dim) {
  std::vector<float> f(dim / 2);
  for (int64_t i = 0; i < dim / 2; ++i) f[i] = 1.0f / power(base, i, dim);
  return f;
}

RopeTable linear_table(const RopeAttrs& a) {
  RopeTable t{plain(a.theta, a.rotary_dim), 1};
  for (float& f : t.inv_freq) f /= static_cast<float>(a.scaling.factor);
  return t;
}

// NTK: the base grows with the part of the sequence beyond the trained length.
RopeTable dynamic_table(const RopeAttrs& a, int64_t length) {
  if (a.max_position <= 0) fail("rope scaling 'dynamic' needs max_position_embeddings");
  if (a.rotary_dim <= 2) fail("rope scaling 'dynamic' needs a rotary size above 2");
  const double dim = static_cast<double>(a.rotary_dim), factor = a.scaling.factor;
  const double n = static_cast<double>(std::max(length, a.max_position));
  const double growth = factor * n / static_cast<double>(a.max_position) - (factor - 1);
  return {plain(a.theta * std::pow(growth, dim / (dim - 2)), a.rotary_dim), 1};
}

// Long wavelengths are divided by the factor, short ones kept, those between interpolated.
RopeTable llama3_table(const RopeAttrs& a) {
  const RopeScaling& s = a.scaling;
  if (s.original_max_position <= 0)
    fail("rope scaling 'llama3' needs original_max_position_embeddings");
  RopeTable t{plain(a.theta, a.rotary_dim), 1};
  const float old = static_cast<float>(s.original_max_position);
  const float low = static_cast<float>(s.original_max_position / s.low_freq_factor);
  const float high = static_cast<float>(s.original_max_position / s.high_freq_factor);
  const float factor = static_cast<float>(s.factor);
  for (float& f : t.inv_freq) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / f;
    if (wavelength > low) {
      f /= factor;
    } else if (wavelength >= high) {
      const float smooth = (old / wavelength - static_cast<float>(s.low_freq_factor)) /
                           static_cast<float>(s.high_freq_factor - s.low_freq_factor);
      f = (1 - smooth) * f / factor + smooth * f;
    }
  }
  return t;
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

float yarn_magnitude(const RopeScaling& s) {
  if (s.attention_factor > 0) return static_cast<float>(s.attention_factor);
  if (s.mscale != 0 && s.mscale_all_dim != 0)
    return static_cast<float>(yarn_mscale(s.factor, s.mscale) /
                              yarn_mscale(s.factor, s.mscale_all_dim));
  return static_cast<float>(yarn_mscale(s.factor, 1));
}

// Dimensions that turn often keep their frequency, those that turn seldom are interpolated, with a
// ramp between.
RopeTable yarn_table(const RopeAttrs& a) {
  const RopeScaling& s = a.scaling;
  const double original =
      static_cast<double>(s.original_max_position ? s.original_max_position : a.max_position);
  if (original <= 0) fail("rope scaling 'yarn' needs original_max_position_embeddings");
  const double dim = static_cast<double>(a.rotary_dim);
  const auto correction = [&](double rotations) {
    return dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(a.theta));
  };
  double low = correction(s.beta_fast), high = correction(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  RopeTable t;
  t.magnitude = yarn_magnitude(s);
  for (int64_t i = 0; i < a.rotary_dim / 2; ++i) {
    const float p = power(a.theta, i, a.rotary_dim);
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.f,
        1.f);
    const float keep = 1 - ramp;
    t.inv_freq.push_back(1.0f / (static_cast<float>(s.factor) * p) * (1 - keep) + 1.0f / p * keep);
  }
  return t;
}

float longrope_magnitude(const RopeAttrs& a) {
  const RopeScaling& s = a.scaling;
  if (s.attention_factor > 0) return static_cast<float>(s.attention_factor);
  const double original = static_cast<double>(s.original_max_position);
  const double factor = s.factor > 1 ? s.factor : static_cast<double>(a.max_position) / original;
  return factor <= 1 ? 1.f
                     : static_cast<float>(std::sqrt(1 + std::log(factor) / std::log(original)));
}

RopeTable longrope_table(const RopeAttrs& a, int64_t length) {
  const RopeScaling& s = a.scaling;
  if (s.original_max_position <= 0)
    fail("rope scaling 'longrope' needs original_max_position_embeddings");
  const bool beyond = length > s.original_max_position;
  const std::vector<double>& factors = beyond ? s.long_factor : s.short_factor;
  if (static_cast<int64_t>(factors.size()) != a.rotary_dim / 2)
    fail("rope scaling 'longrope': {} has {} values, expected {} (half the rotary size)",
         beyond ? "long_factor" : "short_factor", factors.size(), a.rotary_dim / 2);
  RopeTable t;
  t.magnitude = longrope_magnitude(a);
  for (int64_t i = 0; i < a.rotary_dim / 2; ++i)
    t.inv_freq.push_back(1.0f / (static_cast<float>(factors[i]) * power(a.theta, i, a.rotary_dim)));
  return t;
}

}  // namespace

RopeTable rope_table(const RopeAttrs& attrs, int64_t length) {
  const std::string& kind = attrs.scaling.kind;
  if (kind == "none") return {plain(attrs.theta, attrs.rotary_dim), 1};
  if (kind == "linear") return linear_table(attrs);
  if (kind == "dynamic") return dynamic_table(attrs, length);
  if (kind == "llama3") return llama3_table(attrs);
  if (kind == "yarn") return yarn_table(attrs);
  if (kind == "longrope") return longrope_table(attrs, length);
  fail("unknown rope scaling '{}'; known: none, linear, dynamic, llama3, yarn, longrope", kind);
}

}  // namespace tokamak

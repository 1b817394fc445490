#include "runtime/logit_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

namespace tokamak {

namespace {

using F4 = float __attribute__((vector_size(16)));
using I4 = int32_t __attribute__((vector_size(16)));
constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
constexpr size_t kBlock = 64;  // values whose maximum decides whether they are looked at singly

F4 load(const float* p) {
  F4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

F4 splat(float f) { return F4{f, f, f, f}; }

float block_max(const float* p) {
  F4 a = load(p), b = load(p + 4), c = load(p + 8), d = load(p + 12);
  for (size_t i = 16; i < kBlock; i += 16) {
    const F4 x = load(p + i), y = load(p + i + 4), z = load(p + i + 8), w = load(p + i + 12);
    a = x > a ? x : a;
    b = y > b ? y : b;
    c = z > c ? z : c;
    d = w > d ? w : d;
  }
  a = b > a ? b : a;
  c = d > c ? d : c;
  a = c > a ? c : a;
  return std::max(std::max(a[0], a[1]), std::max(a[2], a[3]));
}

// exp of x in [-87, 0] for four values: 2^n times a polynomial in the remainder.
F4 exp4(F4 x) {
  const I4 in_range = x > splat(-87.0f);
  x = in_range ? x : splat(0);
  const F4 magic = splat(12582912.0f);  // adding it rounds to an integer
  const F4 n = (x * splat(1.44269504f) + magic) - magic;
  const F4 r = (x - n * splat(0.693359375f)) + n * splat(2.12194440e-4f);
  F4 p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * r * r + r + splat(1.0f);
  const I4 exponent = (__builtin_convertvector(n, I4) + 127) << 23;
  F4 power;
  std::memcpy(&power, &exponent, sizeof power);
  return in_range ? p * power : splat(0);
}

}  // namespace

// Four vectors at a time: one alone would wait for itself.
RowMax row_max(std::span<const float> x) {
  F4 a = splat(kMinusInf), b = a, c = a, d = a;
  I4 nan = {};
  size_t i = 0;
  for (; i + 16 <= x.size(); i += 16) {
    const float* p = x.data() + i;
    const F4 s = load(p), t = load(p + 4), u = load(p + 8), v = load(p + 12);
    nan |= (s != s) | (t != t) | (u != u) | (v != v);
    a = s > a ? s : a;
    b = t > b ? t : b;
    c = u > c ? u : c;
    d = v > d ? v : d;
  }
  a = b > a ? b : a;
  c = d > c ? d : c;
  a = c > a ? c : a;
  RowMax result{std::max(std::max(a[0], a[1]), std::max(a[2], a[3])),
                (nan[0] | nan[1] | nan[2] | nan[3]) != 0};
  for (; i < x.size(); ++i) {
    result.has_nan |= std::isnan(x[i]);
    result.value = std::max(result.value, x[i]);
  }
  return result;
}

size_t index_of(std::span<const float> x, float value) {
  const F4 wanted = splat(value);
  size_t i = 0;
  for (; i + 16 <= x.size(); i += 16) {
    const float* p = x.data() + i;
    const I4 found = (load(p) == wanted) | (load(p + 4) == wanted) | (load(p + 8) == wanted) |
                     (load(p + 12) == wanted);
    if ((found[0] | found[1] | found[2] | found[3]) != 0) break;
  }
  return static_cast<size_t>(std::find(x.begin() + static_cast<std::ptrdiff_t>(i), x.end(), value) -
                             x.begin());
}

void divide(std::span<const float> x, float divisor, std::span<float> out) {
  size_t i = 0;
  for (; i + 4 <= x.size(); i += 4) {
    const F4 v = load(x.data() + i) / splat(divisor);
    std::memcpy(out.data() + i, &v, sizeof v);
  }
  for (; i < x.size(); ++i) out[i] = x[i] / divisor;
}

double exp_row(std::span<const float> x, float max, std::span<float> out) {
  double sum = 0;
  for (size_t start = 0; start < x.size(); start += kBlock) {
    const size_t n = std::min(kBlock, x.size() - start);
    F4 part = {};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
      const F4 e = exp4(load(x.data() + start + i) - splat(max));
      std::memcpy(out.data() + start + i, &e, sizeof e);
      part += e;
    }
    for (; i < n; ++i) {
      const F4 e = exp4(splat(x[start + i] - max));
      out[start + i] = e[0];
      part[0] += e[0];
    }
    sum += static_cast<double>(part[0]) + part[1] + part[2] + part[3];
  }
  return sum;
}

float kth_largest(std::span<const float> x, size_t k) {
  const size_t capacity = std::max<size_t>(2 * k, 1024);
  std::vector<float> top;  // holds the k largest so far
  top.reserve(std::min(capacity, x.size()) + kBlock);
  float threshold = kMinusInf;
  const auto shrink = [&] {
    std::nth_element(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(k) - 1, top.end(),
                     std::greater<>());
    top.resize(k);
    threshold = top.back();
  };
  for (size_t start = 0; start < x.size(); start += kBlock) {
    const size_t n = std::min(kBlock, x.size() - start);
    if (n == kBlock && !(block_max(x.data() + start) > threshold)) continue;
    for (size_t i = start; i < start + n; ++i)
      if (x[i] > threshold) top.push_back(x[i]);
    if (top.size() >= capacity) shrink();
  }
  if (top.size() < k) return kMinusInf;
  shrink();
  return threshold;
}

void collect_from(std::span<const float> x, float threshold, std::vector<int32_t>& out) {
  for (size_t start = 0; start < x.size(); start += kBlock) {
    const size_t n = std::min(kBlock, x.size() - start);
    if (n == kBlock && !(block_max(x.data() + start) >= threshold)) continue;
    for (size_t i = start; i < start + n; ++i)
      if (x[i] >= threshold && x[i] > kMinusInf) out.push_back(static_cast<int32_t>(i));
  }
}

}  // namespace tokamak

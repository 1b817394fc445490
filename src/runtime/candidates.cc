#include "runtime/candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/logit_kernels.h"

namespace tokamak {

namespace {

constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
constexpr size_t kSortAtMost = 2048;  // more candidates are first cut into buckets of scores

// Which of the candidates stay; one byte each.
using Marks = std::vector<uint8_t>;

void retain(Candidates& c, const Marks& keep) {
  size_t n = 0;
  for (size_t i = 0; i < keep.size(); ++i) {
    c.ids[n] = c.ids[i];
    c.weights[n] = c.weights[i];
    n += keep[i];
  }
  c.ids.resize(n);
  c.weights.resize(n);
}

// Keeps positions of `pool`, likeliest first, while the mass before each is below the limit.
void keep_sorted(const Candidates& c, std::vector<size_t>& pool, double mass, double limit,
                 Marks& keep) {
  std::sort(pool.begin(), pool.end(), [&](size_t a, size_t b) {
    return c.weights[a] != c.weights[b] ? c.weights[a] > c.weights[b] : a < b;
  });
  for (size_t i : pool) {
    if (mass >= limit) break;
    keep[i] = 1;
    mass += c.weights[i];
  }
}

// Bucket of a weight in [2^-127, 1], likeliest first: exponent and the first four bits of the
// fraction.
constexpr size_t kBuckets = 16 * 128;
size_t bucket_of(double weight) {
  constexpr uint64_t kOne = std::bit_cast<uint64_t>(1.0) >> 48;
  return std::min<size_t>(kBuckets - 1,
                          kOne - std::min(kOne, std::bit_cast<uint64_t>(weight) >> 48));
}

void keep_by_buckets(const Candidates& c, double limit, Marks& keep) {
  std::vector<double> mass(kBuckets);
  std::vector<uint16_t> bucket(c.ids.size());
  for (size_t i = 0; i < bucket.size(); ++i) {
    bucket[i] = static_cast<uint16_t>(bucket_of(c.weights[i]));
    mass[bucket[i]] += c.weights[i];
  }
  size_t last = 0;  // the bucket in which the limit is reached
  double before = 0;
  while (last + 1 < kBuckets && before + mass[last] < limit) before += mass[last++];
  std::vector<size_t> pool;
  for (size_t i = 0; i < bucket.size(); ++i) {
    keep[i] = bucket[i] < last;
    if (bucket[i] == last) pool.push_back(i);
  }
  keep_sorted(c, pool, before, limit, keep);
}

// `total`: the mass that top_p is a part of; it may exceed the candidates' own.
void apply_top_p(Candidates& c, double top_p, double total) {
  const double limit = std::max(top_p * total, std::numeric_limits<double>::min());
  Marks keep(c.ids.size());
  if (c.ids.size() <= kSortAtMost) {
    std::vector<size_t> pool(c.ids.size());
    std::iota(pool.begin(), pool.end(), size_t{0});
    keep_sorted(c, pool, 0, limit, keep);
  } else {
    keep_by_buckets(c, limit, keep);
  }
  retain(c, keep);
}

void set_weights(Candidates& c, std::span<const float> scores, float max) {
  c.weights.resize(c.ids.size());
  for (size_t i = 0; i < c.ids.size(); ++i)
    c.weights[i] = std::exp(static_cast<double>(scores[static_cast<size_t>(c.ids[i])]) - max);
}

// Candidates of the whole vocabulary that can matter for top_p, and the mass of all.
double prefilter(Candidates& c, std::span<const float> scores, float max, double top_p) {
  std::vector<float> weights(scores.size());
  const double total = exp_row(scores, max, weights);
  for (float margin : {8.0f, 20.0f, std::numeric_limits<float>::infinity()}) {
    c.ids.clear();
    collect_from(scores, max - margin, c.ids);
    double mass = 0;
    for (int32_t id : c.ids) mass += weights[static_cast<size_t>(id)];
    if (mass < top_p * total * (1 + 1e-6) && std::isfinite(margin)) continue;
    c.weights.resize(c.ids.size());
    for (size_t i = 0; i < c.ids.size(); ++i)
      c.weights[i] =
          std::max(weights[static_cast<size_t>(c.ids[i])], std::numeric_limits<float>::min());
    break;
  }
  return total;
}

}  // namespace

Candidates select_candidates(std::span<const float> scores, float max, int64_t top_k, double top_p,
                             double min_p) {
  Candidates c;
  const bool limited = top_k > 0 && static_cast<size_t>(top_k) < scores.size();
  if (limited) {
    collect_from(scores, kth_largest(scores, static_cast<size_t>(top_k)), c.ids);
    set_weights(c, scores, max);
  }
  if (top_p < 1) {
    if (limited)
      apply_top_p(c, top_p, std::accumulate(c.weights.begin(), c.weights.end(), 0.0));
    else
      apply_top_p(c, top_p, prefilter(c, scores, max, top_p));
  } else if (!limited) {
    const float cut = min_p > 0 ? max + static_cast<float>(std::log(min_p)) - 1e-3f : kMinusInf;
    collect_from(scores, cut, c.ids);
    set_weights(c, scores, max);
  }
  if (min_p > 0) {
    Marks keep(c.ids.size());
    for (size_t i = 0; i < keep.size(); ++i) keep[i] = c.weights[i] >= min_p;
    retain(c, keep);
  }
  return c;
}

}  // namespace tokamak

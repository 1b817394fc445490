// Which tokens top_k and top_p leave, and the draw among them, over the parts of a team of blocks.
// Weights are exp(score - max) as whole numbers, so sums depend on no order and no cut into parts.
#pragma once
#include <cfloat>

#include "backend/cuda/kernels/sample_part.cuh"
#include "backend/cuda/kernels/team.cuh"

namespace tokamak::cuda {

constexpr int kDrawThreads = 1024, kDrawWarps = kDrawThreads / 32;
constexpr int kBins = 2048, kTeamMost = 8;
constexpr int64_t kDrawMaxVocab = int64_t{1} << 20;  // so that a Mass can hold all weights

// In units of 2^-43 of the likeliest token's weight.
using Mass = unsigned long long;
constexpr int kMassBits = 43;

// exp(score - max) = fraction * 2^-exponent, fraction near (1/2, 1]. Places fall with the weight,
// 2048 to a bin, 16 bins to an exponent.
constexpr int kPerBin = kBins, kPerExponent = 16 * kPerBin;
struct Weight {
  int place, exponent;
  uint32_t fraction;  // in units of 2^-31
  __device__ Mass mass() const { return Mass{fraction} << (kMassBits - 31) >> exponent; }
};
__device__ inline Weight weight_of(float max, float score) {
  constexpr float kLog2e = 1.44269502f, kRest = 1.92596303e-8f, kFar = 127.99f;
  constexpr float kRound = 12582912.f;  // added, it rounds to a whole number in the low bits
  const float d = max - score, x = fminf(d * kLog2e, kFar);
  const float rest = x < kFar ? fmaf(d, kLog2e, -x) + d * kRest : 0.f;
  Weight w;
  w.place = __float_as_int(fmaf(x, kPerExponent, -0.5f) + kRound) - __float_as_int(kRound);
  w.exponent = w.place / kPerExponent;
  const float exponent = __int_as_float(__float_as_int(kRound) + w.exponent) - kRound;
  w.fraction = static_cast<uint32_t>(exp2f(exponent - x - rest) * 2147483648.f);
  return w;
}
// A score that no token at this place or further on exceeds.
__device__ inline float highest_at(float max, int place) {
  const float d = static_cast<float>(place) * (0.693147181f / kPerExponent);
  return fminf(max - d + 4e-7f * (fabsf(max) + d + 1), max);
}
// One that none at this place or before it falls below.
__device__ inline float lowest_at(float max, int place) {
  if (place / kPerBin >= kBins - 1) return -FLT_MAX;
  const float d = static_cast<float>(place + 1) * (0.693147181f / kPerExponent);
  return max - d - 4e-7f * (fabsf(max) + d + 1);
}

// A lower end of the tokens in falling order: those of earlier places stay, and those of `place`
// that are above `order` or, with an id up to last_id, equal to it.
struct Cut {
  int place = kBins * kPerBin;
  uint32_t order = 0;
  int32_t last_id = 0x7fffffff;
  float floor = -FLT_MAX;  // no score below it stays
  __device__ bool keeps(const Weight& w, uint32_t o, int32_t id) const {
    return w.place < place || (w.place == place && (o > order || (o == order && id <= last_id)));
  }
};

// What is searched for: so many tokens, or so much of their mass.
struct Goal {
  uint32_t count = 0;  // 0: mass
  float top_p = 0;
  Mass mass = 0;
  __device__ void set_total(Mass total) {
    mass = static_cast<Mass>(ceil(static_cast<double>(top_p) * static_cast<double>(total)));
    if (mass == 0) mass = 1;
  }
  __device__ bool reached(uint32_t c, Mass m) const { return count ? c >= count : m >= mass; }
};

// One level of a search: the tokens in bins of falling weight; those of one bin by place; those of
// one place by score, (high - order) >> shift.
struct Level {
  enum Kind { bins, places, orders } kind = bins;
  int bin = 0, place = 0;  // that of the tokens
  uint32_t low = 0, high = 0;
  int shift = 0;
  float least = -FLT_MAX, most = INFINITY;                       // scores beyond are not of it
  __device__ int index(const Weight& w, uint32_t order) const {  // -1: not of it
    if (kind == bins) return w.place / kPerBin;
    if (kind == places) return w.place / kPerBin == bin ? w.place % kPerBin : -1;
    return w.place == place && order >= low && order <= high
               ? static_cast<int>((high - order) >> shift)
               : -1;
  }
};

// What one level of the search for a cut finds: the bin in which the goal is reached.
struct Found {
  uint32_t bin = 0, count = 0;  // of that bin
  uint32_t above = 0;           // tokens in earlier bins
  Mass mass = 0, mass_above = 0;
};

struct Histogram {
  uint32_t count[kBins], low[kBins], high[kBins];  // sums of fractions: high * 2^32 + low
  __device__ void add(int bin, uint32_t fraction) {
    atomicAdd(count + bin, 1);
    if (atomicAdd(low + bin, fraction) > ~fraction) atomicAdd(high + bin, 1);
  }
};

// In shared memory, read by the other blocks between two syncs of the team.
struct Exchange {
  Rank raw, best;
  uint32_t count;
  Mass mass, total;
  Found found;
  int32_t id;
  // of this block alone
  Rank ranks[2][kDrawWarps];
  uint32_t counts[kDrawWarps];
  Mass masses[kDrawWarps], parts[kDrawWarps];
  double log_min_p, uniform;
};

template <typename T>
__device__ inline T scan_warp(T v) {  // inclusive
  for (int d = 1; d < 32; d *= 2) {
    const T other = __shfl_up_sync(0xffffffffu, v, d);
    if (static_cast<int>(threadIdx.x % 32) >= d) v += other;
  }
  return v;
}

// Of the warps' sums v[]: the sum before this warp, and of all.
template <typename T>
__device__ inline T before_warp(const T* v, T& all) {
  static_assert(kDrawWarps == 32);
  const T own = v[threadIdx.x % 32], to = scan_warp(own);
  all = __shfl_sync(0xffffffffu, to, 31);
  return __shfl_sync(0xffffffffu, to - own, static_cast<int>(threadIdx.x / 32));
}

template <bool kCluster>
class Selection {
 public:
  __device__ Selection(Team<kCluster> team, Exchange& e, Histogram& h, const ScorePart& part,
                       float max)
      : team_(team), e_(e), h_(h), p_(part), max_(max) {}

  __device__ int32_t id(int place) const { return static_cast<int32_t>(p_.begin) + place; }

  // The shortest cut within `cut` that reaches the goal. By count all equals of the last token are
  // included, by mass those with the lowest ids.
  __device__ Cut search(const Cut& cut, Goal goal) {
    Level l;
    Found f = level(cut, l, goal, Found{});
    l.bin = static_cast<int>(f.bin);
    l.place = l.bin * kPerBin + kPerBin - 1;
    bound(l, l.bin * kPerBin, l.place);
    if (f.count > 1) {
      l.kind = Level::places;
      f = level(cut, l, goal, f);
      l.place = l.bin * kPerBin + static_cast<int>(f.bin);
      bound(l, l.place, l.place);
    }
    Cut result{l.place, 0, Cut{}.last_id, l.least};
    if (f.count > 1) {
      refine(cut, l, goal, f);
      result.order = l.low;
      result.floor = fmaxf(l.least, score_of(l.low));
      if (f.count > 1 && !goal.count) keep_lowest_ids(result, goal, f);
    }
    return within(cut, result);
  }
  // use(token) in one thread of the team, of the token in whose share `uniform` of the mass lies;
  // tokens below min_p's part of the best do not count.
  template <typename Use>
  __device__ void draw(const Cut& cut, double log_min_p, double uniform, Use use) {
    const double least = static_cast<double>(max_) + log_min_p;
    float floor = static_cast<float>(least);
    if (static_cast<double>(floor) < least) floor = nextafterf(floor, INFINITY);
    floor = fmaxf(floor, cut.floor);
    nth(
        [&](int j) -> Mass {
          const float s = p_.scores[j];
          if (!(s >= floor)) return 0;
          const Weight w = weight_of(max_, s);
          return cut.keeps(w, order_of(s), id(j)) ? w.mass() : 0;
        },
        [=](Mass total) {
          const Mass at = static_cast<Mass>(uniform * static_cast<double>(total));
          return at < total ? at : total - 1;
        },
        use);
  }

 private:
  __device__ void bound(Level& l, int first, int last) const {
    l.most = highest_at(max_, first);
    l.least = lowest_at(max_, last);
  }
  // The shorter of the two.
  __device__ static Cut within(const Cut& a, const Cut& b) {
    if (a.place != b.place) return a.place < b.place ? a : b;
    if (a.order != b.order) return a.order > b.order ? a : b;
    return a.last_id < b.last_id ? a : b;
  }

  // From a place down to one score, l.low, or to one token, from l.low on.
  __device__ void refine(const Cut& cut, Level& l, Goal& goal, Found& f) {
    l.kind = Level::orders;
    l.high = order_of(l.most);
    l.low = order_of(l.least);
    while (f.count > 1 && l.low < l.high) {
      const int bits = 32 - __clz(l.high - l.low);
      l.shift = bits > 11 ? bits - 11 : 0;
      f = level(cut, l, goal, f);
      l.high -= f.bin << l.shift;
      const uint32_t span = (1u << l.shift) - 1;
      if (l.high - l.low > span) l.low = l.high - span;
    }
  }

  // Of the equals that f counts only as many as the goal wants.
  __device__ void keep_lowest_ids(Cut& cut, const Goal& goal, const Found& f) {
    const Mass one = f.mass / f.count;
    const Mass wanted = one ? max((goal.mass - f.mass_above + one - 1) / one, Mass{1}) : 1;
    if (wanted >= f.count) return;
    const uint32_t order = cut.order;
    nth([&](int j) { return Mass{order_of(p_.scores[j]) == order}; },
        [=](Mass) { return wanted - 1; },
        [&](int32_t id) {
          for (int r = 0; r < team_.size(); ++r) team_.of(r, &e_)->id = id;
        });
    team_.sync();
    cut.last_id = e_.id;
  }

  // Counts the level's tokens that `cut` keeps and finds where the goal is reached.
  __device__ Found level(const Cut& cut, const Level& l, Goal& goal, const Found& before) {
    for (int i = threadIdx.x; i < kBins; i += kDrawThreads)
      h_.count[i] = h_.low[i] = h_.high[i] = 0;
    __syncthreads();
    const float least = fmaxf(cut.floor, l.least);
    for (int j = threadIdx.x; j < p_.size; j += kDrawThreads) {
      const float s = p_.scores[j];
      if (!(s >= least && s <= l.most)) continue;
      const Weight w = weight_of(max_, s);
      const uint32_t o = order_of(s);
      const int index = l.index(w, o);
      if (index >= 0 && cut.keeps(w, o, id(j))) h_.add(index, w.fraction);
    }
    team_.sync();
    return join(before, l, goal);
  }

  // Sums the team's histograms, each block a share of the bins, and finds where the goal is
  // reached, at the latest in the last bin that holds a token.
  __device__ Found join(const Found& before, const Level& l, Goal& goal) {
    const bool first = l.kind == Level::bins;
    constexpr int kMost = kBins / kDrawThreads;
    const int share = kBins / team_.size(), each = max(share / kDrawThreads, 1);
    const int base = team_.rank() * share + static_cast<int>(threadIdx.x) * each;
    uint32_t count[kMost] = {}, counts = 0;
    Mass mass[kMost] = {}, masses = 0;
    if (static_cast<int>(threadIdx.x) * each < share)
#pragma unroll
      for (int i = 0; i < kMost; ++i) {
        if (i >= each) break;
        Mass sum = 0;
#pragma unroll
        for (int r = 0; r < kTeamMost; ++r) {
          if (r >= team_.size()) break;
          const Histogram* h = team_.of(r, &h_);
          count[i] += h->count[base + i];
          sum += Mass{h->high[base + i]} << 32 | h->low[base + i];
        }
        const int exponent = (first ? base + i : l.bin) / 16;
        mass[i] = sum << (kMassBits - 31) >> exponent;
        counts += count[i];
        masses += mass[i];
      }
    uint32_t count_to;
    Mass mass_to;
    scan(counts, masses, count_to, mass_to);
    uint32_t all = 0, count_at = before.above;
    Mass total = 0, mass_at = before.mass_above;
#pragma unroll
    for (int r = 0; r < kTeamMost; ++r) {
      if (r >= team_.size()) break;
      const Exchange* e = team_.of(r, &e_);
      all += e->count;
      total += e->mass;
      if (r >= team_.rank()) continue;
      count_at += e->count;
      mass_at += e->mass;
    }
    if (first) goal.set_total(total);
    const uint32_t last = before.above + all;
    count_at += count_to - counts;
    mass_at += mass_to - masses;
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      if (count[i] == 0) continue;
      const bool here =
          goal.reached(count_at + count[i], mass_at + mass[i]) || count_at + count[i] == last;
      if (here && !goal.reached(count_at, mass_at)) {
        const Found f{static_cast<uint32_t>(base + i), count[i], count_at, mass[i], mass_at};
        for (int r = 0; r < team_.size(); ++r) team_.of(r, &e_)->found = f;
      }
      count_at += count[i];
      mass_at += mass[i];
    }
    team_.sync();
    return e_.found;
  }

  // Inclusive sums over the block's threads; the block's own go into the exchange, with a sync.
  __device__ void scan(uint32_t count, Mass mass, uint32_t& count_to, Mass& mass_to) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    count_to = scan_warp(count);
    mass_to = scan_warp(mass);
    if (lane == 31) {
      e_.counts[warp] = count_to;
      e_.masses[warp] = mass_to;
    }
    __syncthreads();
    uint32_t counts;
    Mass masses;
    count_to += before_warp(e_.counts, counts);
    mass_to += before_warp(e_.masses, masses);
    if (threadIdx.x == 0) {
      e_.count = counts;
      e_.mass = masses;
    }
    team_.sync();
  }

  // use(id) in one thread of the team, of the id at which the sum of value(place) in ascending
  // order exceeds target(total).
  template <typename Value, typename Target, typename Use>
  __device__ void nth(Value value, Target target, Use use) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int segment = (p_.size + kDrawThreads - 1) / kDrawThreads * 32;
    const int begin = warp * segment, end = min(begin + segment, p_.size);
    Mass sum = 0;
#pragma unroll 4
    for (int j = begin + lane; j < end; j += 32) sum += value(j);
    sum = scan_warp(sum);
    if (lane == 31) e_.parts[warp] = sum;
    __syncthreads();
    Mass own;
    Mass at = before_warp(e_.parts, own);  // then before this warp among all blocks
    if (threadIdx.x == 0) e_.total = own;
    team_.sync();
    Mass total = 0;
#pragma unroll
    for (int r = 0; r < kTeamMost; ++r) {
      if (r >= team_.size()) break;
      const Mass m = team_.of(r, &e_)->total;
      total += m;
      if (r < team_.rank()) at += m;
    }
    const Mass wanted = target(total);
    if (at <= wanted && wanted < at + e_.parts[warp]) find(value, begin, end, at, wanted, use);
  }

  // One warp: the place in [begin, end) at which the sum, `at` before it, exceeds `wanted`.
  template <typename Value, typename Use>
  __device__ void find(Value value, int begin, int end, Mass at, Mass wanted, Use use) {
    constexpr int kAtOnce = 4;
    const int lane = threadIdx.x % 32;
    for (int j0 = begin; j0 < end && at <= wanted; j0 += 32 * kAtOnce) {
      Mass v[kAtOnce], to[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int j = j0 + 32 * i + lane;
        v[i] = j < end ? value(j) : 0;
        to[i] = scan_warp(v[i]);
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        to[i] += at;
        if (to[i] - v[i] <= wanted && wanted < to[i]) use(id(j0 + 32 * i + lane));
        at = __shfl_sync(0xffffffffu, to[i], 31);
      }
    }
  }

  const Team<kCluster> team_;
  Exchange& e_;
  Histogram& h_;
  const ScorePart& p_;
  const float max_;
};

}  // namespace tokamak::cuda

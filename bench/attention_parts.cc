// attention_parts: where the time of prefill attention over AMX tiles goes. All CPUs at once, for
// neighbours may share their cores: every part in turns, a core's median and best of many rounds.
//   attention_parts --head_dim 64 128 --seconds 3
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>

#include "attention_parts.h"
#include "backend/cpu/cpu_mask.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/peak_loops.h"
#include "base/error.h"
#include "base/half.h"

namespace tokamak {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kRows = 1024, kKeys = 512, kPeakRounds = 20000;

// What one core works on.
class Work {
 public:
  explicit Work(int64_t head_dim) : head_dim_(head_dim), width_((head_dim + 31) / 32 * 32) {
    const PairKernels& kernels = *attention_kernels_amx().pairs;
    std::mt19937 rng(7);
    std::normal_distribution<float> normal;
    cache_.resize(static_cast<size_t>(2 * kKeys * head_dim));
    for (uint16_t& x : cache_) x = f32_to_f16(normal(rng));
    std::vector<float> query(static_cast<size_t>(head_dim)), key(query.size());
    for (int64_t r = 0; r < kRows; ++r) {
      for (size_t d = 0; d < query.size(); ++d) {
        query[d] = normal(rng) * kPairUnit / std::sqrt(static_cast<float>(head_dim));
        key[d] = f16_to_f32(row(r % kKeys)[d]);
      }
      kernels.pack_query(query.data(), key.data(), head_dim, 0, q_.data() + r * width_,
                         start_.data() + r);
    }
    pack();
    PairTile& t = parts_.tile;
    t.steps = static_cast<int>(width_ / 32);
    t.q = q_.data(), t.k = k_.data(), t.v = v_.data();
    t.mask.places = places_.data();
    t.scores = scores_.data(), t.weights = weights_.data(), t.fresh = fresh_.data();
    t.start = start_.data(), t.sum = sum_.data(), t.out = out_.data();
    parts_.rows = kRows, parts_.keys = kKeys;
  }
  const AttentionParts& parts() const { return parts_; }
  // Sums and outputs would leave float32's range some day.
  void clear() {
    std::fill(sum_.begin(), sum_.end(), 0.0f);
    std::fill(out_.begin(), out_.end(), 0.0f);
  }
  void pack() {
    const std::byte *keys[kPairTile], *values[kPairTile];
    for (int64_t at = 0; at < kKeys; at += kPairTile) {
      for (int64_t i = 0; i < kPairTile; ++i) {
        keys[i] = reinterpret_cast<const std::byte*>(row(at + i));
        values[i] = reinterpret_cast<const std::byte*>(row(kKeys + at + i));
      }
      attention_kernels_amx().pairs->pack_keys(DType::f16, keys, values, kPairTile, head_dim_,
                                               k_.data() + at * width_, v_.data() + at * width_);
    }
  }

 private:
  template <typename T>
  struct alignas(64) Line {
    T x[64 / sizeof(T)];
  };
  // Zeros from a cache line's begin on.
  template <typename T>
  class Array {
   public:
    explicit Array(int64_t n) : lines_(static_cast<size_t>(n) * sizeof(T) / 64 + 1), n_(n) {}
    T* data() { return lines_.data()->x; }
    T* begin() { return data(); }
    T* end() { return data() + n_; }

   private:
    std::vector<Line<T>> lines_;
    int64_t n_;
  };
  const uint16_t* row(int64_t i) const { return &cache_[static_cast<size_t>(i * head_dim_)]; }

  const int64_t head_dim_, width_;
  std::vector<uint16_t> cache_;
  std::vector<float> places_ = std::vector<float>(kRows, 1e6f);  // every row sees every key
  Array<uint16_t> q_{kRows * width_}, k_{kKeys * width_}, v_{kKeys * width_};
  Array<uint16_t> weights_{kPairTile * 32};
  Array<float> scores_{2 * 32 * 32}, fresh_{32 * 16}, start_{kRows}, sum_{kRows * 16};
  Array<float> out_{kRows * width_};
  AttentionParts parts_;
};

struct Part {
  const char* name;
  void (*run)(Work& work);
  double share;  // of the operations
};
constexpr Part kParts[] = {
    {"scores", [](Work& w) { attention_scores_amx(w.parts()); }, 0.5},
    {"weights", [](Work& w) { attention_weights_amx(w.parts()); }, 0},
    {"values", [](Work& w) { attention_values_amx(w.parts()); }, 0.5},
    {"all of it", [](Work& w) { attention_tiles_amx(w.parts()); }, 1},
    {"packing", [](Work& w) { w.pack(); }, 0},
    {"peak", [](Work&) { peak_bf16_amx(kPeakRounds); }, 0},
};
constexpr size_t kCount = std::size(kParts);

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Times of a core's rounds, part by part.
using Times = std::vector<double>[kCount];

void measure(int cpu, int64_t head_dim, double seconds, std::atomic<size_t>& waiting, size_t all,
             Times& times) {
  set_thread_cpus({cpu});
  Work work(head_dim);
  for (++waiting; waiting < all;) std::this_thread::yield();
  for (const auto begin = Clock::now(); seconds_since(begin) < seconds;)
    for (size_t i = 0; i < kCount; ++i) {
      kParts[i].run(work);
      work.clear();
      const auto start = Clock::now();
      kParts[i].run(work);
      times[i].push_back(seconds_since(start));
    }
  for (auto& part : times) std::sort(part.begin(), part.end());
}

void report(int64_t head_dim, const std::vector<Times>& times) {
  const double blocks = kRows / 32.0 * kKeys / 32;
  const double operations = 4.0 * kRows * kKeys * static_cast<double>(head_dim);
  const auto rates = [](const Part& p, double s, double ops, double count) {
    const double work = p.share > 0                          ? p.share * ops
                        : std::string_view(p.name) == "peak" ? count
                                                             : 0;
    return work > 0 ? fmt::format("{:6.0f} GFLOP/s", work / s / 1e9) : std::string(14, ' ');
  };
  const double peak = peak_bf16_amx(kPeakRounds);
  fmt::print("head_dim {}, {} cores: ns of 32 rows by 32 keys\n", head_dim, times.size());
  for (size_t i = 0; i < kCount; ++i) {
    std::vector<double> medians, best;
    for (const Times& t : times) {
      medians.push_back(t[i][t[i].size() / 2]);
      best.push_back(t[i].front());
    }
    std::sort(medians.begin(), medians.end());
    const double all[] = {medians[medians.size() / 2], medians.front(),
                          *std::min_element(best.begin(), best.end())};
    fmt::print("{:10}", kParts[i].name);
    constexpr const char* kNames[] = {"median core", "best core", "best"};
    for (int k = 0; k < 3; ++k)
      fmt::print("  {} {:6.1f} {}", kNames[k], all[k] / blocks * 1e9,
                 rates(kParts[i], all[k], operations, peak));
    fmt::print("\n");
  }
}

void bench(const std::vector<int64_t>& heads, double seconds) {
  if (!isa_report().has(Isa::amx)) fail("this machine has no AMX");
  const std::vector<int> cpus = thread_cpus();
  for (const int64_t head_dim : heads) {
    std::vector<Times> times(cpus.size());
    std::atomic<size_t> waiting{0};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < cpus.size(); ++i)
      threads.emplace_back(
          [&, i] { measure(cpus[i], head_dim, seconds, waiting, cpus.size(), times[i]); });
    for (std::thread& t : threads) t.join();
    report(head_dim, times);
  }
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  std::vector<int64_t> heads = {64, 128};
  double seconds = 3;
  CLI::App app("Times the parts of prefill attention over AMX tiles on all cores at once.");
  app.add_option("--head_dim", heads, "Sizes of heads")->capture_default_str();
  app.add_option("--seconds", seconds, "Of each size")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    tokamak::bench(heads, seconds);
  } catch (const tokamak::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  return 0;
}

// What the benches of CUDA tactics share: their flags, the timing of recorded launches, a line a
// case.
#pragma once
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "backend/cuda_plugin.h"
#include "base/error.h"

namespace tokamak {

struct CudaBenchOptions {
  std::vector<std::string> cases;
  std::string tactic;
  bool deterministic = false;
  int rounds = 9;
  double gb_s = 3090, tflop_s = 770;
};

inline void add_cuda_bench_options(CLI::App& app, CudaBenchOptions& o, const char* cases,
                                   const char* tactic) {
  app.add_option("--case", o.cases, cases);
  app.add_option("--tactic", o.tactic, tactic);
  app.add_option("--rounds", o.rounds, "The median is told")->capture_default_str();
  app.add_option("--gb_s", o.gb_s, "Read bandwidth to compare with")->capture_default_str();
  app.add_option("--tflop_s", o.tflop_s, "Peak to compare with")->capture_default_str();
  app.add_flag("--deterministic", o.deterministic, "As built with --deterministic");
}

// Median microseconds of a launch: each round starts the recorded launches so many times.
inline double median_launch_us(Backend& backend, std::span<const BoundLaunch> launches,
                               std::byte* workspace, const StepContext& step, int rounds,
                               int replays) {
  constexpr int kWarmUps = 3;
  backend.run(launches, workspace, step);
  const auto recording = backend.record([&] { backend.enqueue(launches, workspace, step); });
  std::vector<double> times;
  for (int r = 0; r < rounds + kWarmUps; ++r) {
    backend.synchronize();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < replays; ++i) backend.replay(*recording);
    backend.synchronize();
    const std::chrono::duration<double, std::micro> us = std::chrono::steady_clock::now() - start;
    if (r >= kWarmUps) times.push_back(us.count() / static_cast<double>(launches.size()) / replays);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

inline void print_cuda_case(const CudaBenchOptions& o, std::string_view tactic,
                            const std::string& text, double us, double bytes, double flops) {
  const double gb_s = bytes / us / 1e3, tflop_s = flops / us / 1e6;
  fmt::print("{:30} {:28} {:9.2f} us  {:7.1f} GB/s ({:3.0f} %)  {:7.1f} TFLOP/s ({:3.0f} %)\n",
             tactic, text, us, gb_s, 100 * gb_s / o.gb_s, tflop_s, 100 * tflop_s / o.tflop_s);
  std::fflush(stdout);
}

inline int run_cuda_bench(CLI::App& app, int argc, char** argv,
                          const std::function<void()>& bench) {
  CLI11_PARSE(app, argc, argv);
  try {
    bench();
  } catch (const Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  return 0;
}

}  // namespace tokamak

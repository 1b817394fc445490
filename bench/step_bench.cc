// step_bench: what lies between decoding and the memory's speed. Reads of a buffer as large as the
// weights and decode steps alternate, so that both see the same machine; the rest are the costs of
// a step that are not kernels: launches, sampling, waking up.
//   step_bench --engine_dir DIR [--workers 2] [--context 32] [--rounds 30] [--weights
//   auto|map|copy]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <set>
#include <thread>

#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/limits.h"
#include "base/error.h"
#include "runtime/sampler.h"
#include "runtime/session.h"

namespace tokamak {
namespace {

using Clock = std::chrono::steady_clock;

double us_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

struct Options {
  std::string engine_dir, weights = "auto";
  int workers = 0, context = 32, rounds = 30, steps = 4;
};

// A buffer as large as the weights, read by all workers.
class Reader {
 public:
  Reader(Backend& backend, size_t bytes)
      : backend_(backend),
        loops_(read_loops(parse_isa(backend.properties().isa))),
        bytes_(bytes / 4096 * 4096),
        buffer_(backend.allocate(bytes)) {
    shares([](std::byte* p, size_t n) { std::memset(p, 1, n); });
  }
  // Of the faster loop.
  double us() {
    double best = std::numeric_limits<double>::max();
    for (const ReadLoop loop : loops_) {
      const auto begin = Clock::now();
      shares(loop);
      best = std::min(best, us_since(begin));
    }
    return best;
  }

 private:
  template <typename F>
  void shares(const F& f) {
    backend_.parallel([&](int worker, int workers) {
      const size_t pages = bytes_ / 4096, begin = pages * worker / workers * 4096;
      f(buffer_.get() + begin, pages * (worker + 1) / workers * 4096 - begin);
    });
  }
  Backend& backend_;
  const std::vector<ReadLoop> loops_;
  const size_t bytes_;
  Backend::Buffer buffer_;
};

// Bytes of the weights that a step reads from begin to end: an embedding picks rows.
size_t streamed_bytes(const Plan& plan) {
  std::set<int32_t> weights;
  for (const PlanStep& step : plan.steps)
    for (const int32_t i : step.inputs)
      if (step.op != Op::embedding &&
          plan.values[static_cast<size_t>(i)].storage == Storage::weight)
        weights.insert(plan.values[static_cast<size_t>(i)].base);
  size_t bytes = 0;
  for (const int32_t w : weights) bytes += plan.weights[static_cast<size_t>(w)].bytes;
  return bytes;
}

struct Nothing final : Kernel {
  void launch(const LaunchArgs&, ExecContext&) const override {}
};

// One launch of a step that has nothing to do: the barrier and the call.
double empty_launch_us(Backend& backend) {
  constexpr size_t kLaunches = 2000;
  const Nothing nothing;
  const std::vector<BoundLaunch> launches(kLaunches, {&nothing, {}, {}});
  std::vector<double> us;
  for (int i = 0; i < 20; ++i) {
    const auto begin = Clock::now();
    backend.run(launches, nullptr, {});
    us.push_back(us_since(begin) / kLaunches);
  }
  return median(us);
}

// A step of one empty launch, after so long a pause of the caller.
double wake_us(Backend& backend, std::chrono::microseconds pause) {
  const Nothing nothing;
  const std::vector<BoundLaunch> launches(1, {&nothing, {}, {}});
  std::vector<double> us;
  for (int i = 0; i < 30; ++i) {
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
    const auto begin = Clock::now();
    backend.run(launches, nullptr, {});
    us.push_back(us_since(begin));
  }
  return median(us);
}

void run(const Options& o) {
  CpuOptions cpu;
  cpu.workers = o.workers;
  const auto backend = make_cpu_backend(cpu);
  SessionOptions options;
  if (o.weights != "auto") options.copy_weights = o.weights == "copy";
  const auto open = Clock::now();
  Session session(o.engine_dir, *backend, options);
  const double open_us = us_since(open);
  const MemoryNeed need = session.memory();
  const size_t weights = streamed_bytes(session.plan());
  Reader reader(*backend, weights);

  const int32_t sequence = session.add_sequence();
  session.reserve(o.context + 1, 1);
  const std::vector<int32_t> prompt(static_cast<size_t>(o.context), 5);
  SequenceInput input{sequence, prompt, WantLogits::last};
  session.step({&input, 1});
  SamplingParams greedy;
  greedy.temperature = 0;
  Sampler sampler(greedy, session.vocab_size(), {});
  int32_t token = 7;
  std::vector<double> read, step, sample, ratio;
  for (int round = 0; round < o.rounds; ++round) {
    const double before = reader.us();
    double sum = 0;
    for (int i = 0; i < o.steps; ++i) {
      input.tokens = {&token, 1};
      const auto begin = Clock::now();
      const LogitRows logits = session.step({&input, 1});
      const double us = us_since(begin);
      const auto sampling = Clock::now();
      token = sampler.next(logits.row(0));
      sample.push_back(us_since(sampling));
      session.truncate(sequence, o.context);
      step.push_back(us);
      sum += us;
    }
    read.push_back((before + reader.us()) / 2);
    ratio.push_back(read.back() / (sum / o.steps));
  }
  const double bytes =
      static_cast<double>(weights) + static_cast<double>(need.kv_per_token) * o.context;
  const double read_us = median(read), step_us = median(step);
  fmt::print("opened in {:.0f} ms; {:.1f} MB of weights that a step reads\n", open_us / 1e3,
             static_cast<double>(weights) / 1e6);
  fmt::print("read, same size     {:9.1f} us  {:5.1f} GB/s (best {:.1f})\n", read_us,
             static_cast<double>(weights) / read_us / 1e3,
             static_cast<double>(weights) / *std::min_element(read.begin(), read.end()) / 1e3);
  fmt::print("decode step         {:9.1f} us  {:5.1f} GB/s of weights and KV (best {:.1f} us)\n",
             step_us, bytes / step_us / 1e3, *std::min_element(step.begin(), step.end()));
  fmt::print("read / decode       {:9.1f} %   median of alternating rounds\n", 100 * median(ratio));
  fmt::print("greedy sampling     {:9.1f} us  {:.2f} % of a step\n", median(sample),
             100 * median(sample) / step_us);
  const double launch = empty_launch_us(*backend);
  const auto launches = static_cast<double>(session.plan().steps.size());
  fmt::print("an empty launch     {:9.3f} us  x {:.0f} = {:.2f} % of a step\n", launch, launches,
             100 * launch * launches / step_us);
  fmt::print("a step of nothing   {:9.1f} us; after 200 us idle {:.1f}, after 5 ms idle {:.1f}\n",
             wake_us(*backend, {}), wake_us(*backend, std::chrono::microseconds(200)),
             wake_us(*backend, std::chrono::milliseconds(5)));
}

}  // namespace
}  // namespace tokamak

int main(int argc, char** argv) {
  tokamak::Options o;
  CLI::App app("What lies between decoding and the memory's speed");
  app.add_option("--engine_dir", o.engine_dir, "Engine directory")->required();
  app.add_option("--workers", o.workers, "CPU threads; 0: one per core")->capture_default_str();
  app.add_option("--context", o.context, "Tokens before the step")->capture_default_str();
  app.add_option("--rounds", o.rounds, "Rounds of one read and some steps")->capture_default_str();
  app.add_option("--steps", o.steps, "Decode steps of a round")->capture_default_str();
  app.add_option("--weights", o.weights, "auto, map or copy")
      ->check(CLI::IsMember({"auto", "map", "copy"}))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    tokamak::run(o);
  } catch (const tokamak::Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    return 2;
  }
  return 0;
}

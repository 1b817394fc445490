// tokamak bench: latency and throughput of static batches, one line a case.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "base/error.h"
#include "base/json.h"
#include "cli/bench_manager.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/random_model.h"
#include "formats/model_config.h"
#include "runtime/session.h"

namespace tokamak::cli {
namespace {

struct BenchOptions {
  ModelOptions model;
  RandomModelOptions random;
  std::string batch_size = "1", input_output_len = "128,128", cases;
  bool json = false;
  int warm_up = 1, num_runs = 5;
  std::string mode = "session";
  int64_t num_requests = 64;
  int64_t shared_prefix = 0;
  ExecutorOptions executor;
};

struct Case {
  int64_t batch, input, output;
};

struct Result {
  Case c;
  double latency_ms, ttft_ms;  // medians over the runs
  // Time per output token after the first, of one sequence.
  double tpot_ms() const { return c.output > 1 ? (latency_ms - ttft_ms) / (c.output - 1) : 0; }
  double tokens_per_s() const { return c.batch * c.output / latency_ms * 1e3; }
  double prefill_tokens_per_s() const { return c.batch * c.input / ttft_ms * 1e3; }
  double decode_tokens_per_s() const {
    return c.output > 1 ? c.batch * (c.output - 1) / (latency_ms - ttft_ms) * 1e3 : 0;
  }
};

std::vector<int64_t> numbers(const std::string& text, char separator, const char* flag) {
  std::vector<int64_t> out;
  for (const std::string& item : CLI::detail::split(text, separator)) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), n);
    if (error != std::errc() || end != item.data() + item.size() || n < 1)
      fail("{} '{}': '{}' is not a positive number", flag, text, item);
    out.push_back(n);
  }
  return out;
}

std::vector<Case> cases_of(const BenchOptions& o) {
  std::vector<Case> cases;
  if (!o.cases.empty()) {
    for (const std::string& one : CLI::detail::split(o.cases, ';')) {
      const auto n = numbers(one, ',', "--cases");
      if (n.size() != 3) fail("--cases takes BATCH,INPUT,OUTPUT;…, found '{}'", one);
      cases.push_back({n[0], n[1], n[2]});
    }
    return cases;
  }
  for (const int64_t batch : numbers(o.batch_size, ';', "--batch_size"))
    for (const std::string& pair : CLI::detail::split(o.input_output_len, ';')) {
      const auto lengths = numbers(pair, ',', "--input_output_len");
      if (lengths.size() != 2) fail("--input_output_len takes INPUT,OUTPUT;…, found '{}'", pair);
      cases.push_back({batch, lengths[0], lengths[1]});
    }
  return cases;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t n = v.size();
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

// Random token ids, greedy, no early end: every run does the same work.
Result measure(LLM& llm, const Case& c, const BenchOptions& o) {
  std::mt19937 random(1234);
  std::uniform_int_distribution<int32_t> id(0, static_cast<int32_t>(llm.config().vocab_size) - 1);
  SamplingParams params;
  params.temperature = 0;
  params.ignore_eos = true;
  params.max_tokens = c.output;
  std::vector<Request> requests(c.batch);
  for (Request& r : requests) {
    r.params = params;
    for (int64_t i = 0; i < c.input; ++i) r.tokens.push_back(id(random));
  }
  std::vector<double> latency, ttft;
  for (int run = 0; run < o.warm_up + o.num_runs; ++run) {
    const auto done = llm.generate(requests);
    if (run < o.warm_up) continue;
    double first = 0, total = 0;
    for (const Completion& d : done) {
      first = std::max(first, d.first_token_s);
      total = std::max(total, d.total_s);
    }
    ttft.push_back(first * 1e3);
    latency.push_back(total * 1e3);
  }
  return {c, median(latency), median(ttft)};
}

double peak_memory_gb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024.0 / 1e9;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of a GPU, so far: what was planned (with the KV cache), what this program asked for at most, and
// what is in use beside it: the driver's context, kernels, graphs, other programs.
struct GpuMemory {
  double planned_gb = 0, allocated_gb = 0, beside_gb = 0;
};

std::optional<GpuMemory> gpu_memory(LLM& llm) {
  const auto use = llm.session().backend().memory_use();
  if (!use) return std::nullopt;
  return GpuMemory{static_cast<double>(llm.session().memory().total()) / 1e9,
                   static_cast<double>(use->peak) / 1e9,
                   static_cast<double>(use->total - use->free - use->allocated) / 1e9};
}

Json to_json(const Result& r) {
  return {{"batch_size", r.c.batch},
          {"input_length", r.c.input},
          {"output_length", r.c.output},
          {"latency_ms", r.latency_ms},
          {"ttft_ms", r.ttft_ms},
          {"tpot_ms", r.tpot_ms()},
          {"tokens_per_s", r.tokens_per_s()},
          {"prefill_tokens_per_s", r.prefill_tokens_per_s()},
          {"decode_tokens_per_s", r.decode_tokens_per_s()},
          {"peak_mem_gb", peak_memory_gb()}};
}

// What the figures mean; all times are medians over the runs.
Json formulas() {
  return {{"ttft_ms", "from the request to the first token of the batch's last sequence"},
          {"tpot_ms", "(latency_ms - ttft_ms) / (output_length - 1)"},
          {"tokens_per_s", "batch_size * output_length / latency"},
          {"prefill_tokens_per_s", "batch_size * input_length / ttft"},
          {"decode_tokens_per_s", "batch_size * (output_length - 1) / (latency - ttft)"}};
}

void print_formulas(const Json& all) {
  std::puts("Formulas (of session: times are medians over the runs):");
  for (const auto& [figure, formula] : all.items())
    std::printf("  %-21s = %s\n", figure.c_str(), formula.get<std::string>().c_str());
}

Json manager_formulas() {
  return {{"output_tokens_per_s", "output tokens of all requests / total_s"},
          {"total_s", "from the first request queued to the last token"},
          {"ttft_ms, latency_ms", "mean over requests, each from its own queueing"},
          {"tpot_ms", "mean over requests of (last - first token) / (output tokens - 1)"},
          {"step_share", "time inside the model / time with requests at hand"},
          {"kv_shared", "1 - blocks in use / blocks that the sequences would need for themselves"},
          {"kv_waste", "room in the blocks in use that holds no token / all of it"}};
}

// All requests queued at once, one line a length pair.
Json bench_manager(LLM& llm, const BenchOptions& o) {
  Json all = Json::array();
  for (const Case& c : cases_of(o)) {
    const ManagerCase m{o.num_requests, c.input, c.output, o.shared_prefix, o.executor};
    if (o.warm_up > 0)
      run_manager(llm, {std::min<int64_t>(o.num_requests, 64), c.input, 8, 0, o.executor});
    const ManagerResult r = run_manager(llm, m);
    const double rate = static_cast<double>(r.tokens) / r.total_s;
    all.push_back({{"num_requests", m.requests},
                   {"input_length", m.input},
                   {"output_length", m.output},
                   {"total_s", r.total_s},
                   {"output_tokens_per_s", rate},
                   {"requests_per_s", static_cast<double>(m.requests) / r.total_s},
                   {"ttft_ms", r.ttft_ms},
                   {"ttft_p99_ms", r.ttft_p99_ms},
                   {"tpot_ms", r.tpot_ms},
                   {"latency_ms", r.latency_ms},
                   {"step_share", r.step_share},
                   {"steps", r.steps},
                   {"preemptions", r.preemptions},
                   {"reused_tokens", r.reused_tokens},
                   {"kv_shared", r.kv_shared},
                   {"kv_waste", r.kv_waste},
                   {"tokens_hash", fmt::format("{:016x}", r.tokens_hash)}});
    if (o.json) continue;
    std::printf(
        "[BENCHMARK] num_requests %ld input_length %ld output_length %ld total(s) %.2f "
        "outputTokensPerSec %.1f requestsPerSec %.2f ttft(ms) %.1f ttftP99(ms) %.1f tpot(ms) %.2f "
        "latency(ms) %.1f steps %ld preemptions %ld insideModel %.1f%% reusedTokens %ld "
        "kvShared %.1f%% kvWaste %.1f%% tokensHash %016lx\n",
        m.requests, m.input, m.output, r.total_s, rate, static_cast<double>(m.requests) / r.total_s,
        r.ttft_ms, r.ttft_p99_ms, r.tpot_ms, r.latency_ms, r.steps, r.preemptions,
        100 * r.step_share, r.reused_tokens, 100 * r.kv_shared, 100 * r.kv_waste, r.tokens_hash);
    std::fflush(stdout);
  }
  return all;
}

int bench(const BenchOptions& o) {
  if (o.mode != "session" && o.mode != "manager")
    fail("--mode '{}': session (static batches) or manager (in flight)", o.mode);
  const auto start = std::chrono::steady_clock::now();
  ModelOptions model = o.model;
  if (const auto made = random_model(o.random, model.llm); !made.empty())
    model.model = made.string();
  const std::vector<Case> cases = cases_of(o);
  const double built_s = seconds_since(start);
  model.llm.on_memory_plan = [](const std::string& table) {
    std::fprintf(stderr, "GPU memory:\n%s", table.c_str());
  };
  LLM llm(model.path(), model.llm);
  const double opened_s = seconds_since(start) - built_s;
  if (const auto& traffic = llm.session().weight_traffic(); traffic.bytes > 0)
    std::fprintf(stderr, "%s\n", traffic.line().c_str());
  std::fprintf(stderr, "ready after %.1f s: build %.1f s, open %.1f s\n", built_s + opened_s,
               built_s, opened_s);
  const bool manager = o.mode == "manager";
  Json all = manager ? bench_manager(llm, o) : Json::array();
  for (const Case& c : manager ? std::vector<Case>() : cases) {
    const Result r = measure(llm, c, o);
    all.push_back(to_json(r));
    if (o.json) continue;
    std::printf(
        "[BENCHMARK] batch_size %ld input_length %ld output_length %ld latency(ms) %.2f "
        "tokensPerSec %.2f ttft(ms) %.2f tpot(ms) %.3f prefillTokensPerSec %.1f decodeTokensPerSec "
        "%.1f "
        "peak_mem(gb) %.2f\n",
        c.batch, c.input, c.output, r.latency_ms, r.tokens_per_s(), r.ttft_ms, r.tpot_ms(),
        r.prefill_tokens_per_s(), r.decode_tokens_per_s(), peak_memory_gb());
    std::fflush(stdout);
  }
  const auto gpu = gpu_memory(llm);
  if (o.json) {
    Json j = {{"model", model.path()},
              {"cases", all},
              {"formulas", manager ? manager_formulas() : formulas()},
              {"build_s", built_s},
              {"open_s", opened_s}};
    if (gpu)
      j["gpu_memory"] = {{"planned_gb", gpu->planned_gb},
                         {"allocated_gb", gpu->allocated_gb},
                         {"beside_gb", gpu->beside_gb}};
    std::puts(j.dump(2).c_str());
  } else {
    if (gpu)
      std::printf(
          "GPU memory: planned %.2f GB, allocated %.2f GB at most; %.2f GB in use beside it "
          "(context, kernels, graphs)\n",
          gpu->planned_gb, gpu->allocated_gb, gpu->beside_gb);
    print_formulas(manager ? manager_formulas() : formulas());
  }
  return 0;
}

}  // namespace

Run declare_bench(CLI::App& app) {
  auto o = std::make_shared<BenchOptions>();
  add_model_options(app, o->model);
  app.add_option("--batch_size", o->batch_size, "Batch sizes, e.g. \"1;4;8\"")
      ->capture_default_str();
  app.add_option("--input_output_len", o->input_output_len, "Length pairs, e.g. \"128,128;512,64\"")
      ->capture_default_str();
  app.add_option("--cases", o->cases, "BATCH,INPUT,OUTPUT;… instead of all pairs of the two");
  app.add_option("--mode", o->mode,
                 "session: static batches; manager: --num_requests queued at once, in flight")
      ->capture_default_str();
  app.add_option("--num_requests", o->num_requests, "Of --mode manager")
      ->check(CLI::PositiveNumber);
  app.add_option("--max_batch_size", o->executor.max_batch_size,
                 "Of --mode manager: requests in one step; 0: the engine's limit");
  app.add_option("--shared_prefix", o->shared_prefix,
                 "Of --mode manager: tokens that all inputs begin with, part of their length")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("!--no_block_reuse", o->executor.enable_block_reuse,
               "Of --mode manager: do not share the KV cache of equal prompt beginnings");
  app.add_option("--kv_cache_host_memory_bytes,--kv_host_cache_size",
                 o->executor.kv_cache_host_memory_bytes,
                 "Of --mode manager: host memory for KV blocks that must leave the cache")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--batch_scheduler_policy", o->executor.batch_scheduler_policy,
                 "Of --mode manager: guaranteed_no_evict or max_utilization")
      ->capture_default_str();
  add_random_model_options(app, o->random);
  app.add_option("--warm_up", o->warm_up, "Runs that are not counted")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--num_runs", o->num_runs, "Counted runs; medians are printed")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", o->json, "Print one JSON object");
  return [o] { return bench(*o); };
}

}  // namespace tokamak::cli

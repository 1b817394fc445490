#include "cli/bench_manager.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <random>
#include <vector>

#include "base/error.h"
#include "formats/model_config.h"

namespace tokamak::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

double mean(const std::vector<double>& v) {
  return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

}  // namespace

ManagerResult run_manager(LLM& llm, const ManagerCase& c) {
  struct Times {
    Clock::time_point queued, first, last;
    int64_t tokens = 0;
    uint64_t hash = 0xcbf29ce484222325u;
  };
  std::vector<Times> times(static_cast<size_t>(c.requests));
  std::mutex mutex;
  std::condition_variable ended;
  int64_t left = c.requests;
  std::string error;
  std::mt19937 random(1234);
  std::uniform_int_distribution<int32_t> id(0, static_cast<int32_t>(llm.config().vocab_size) - 1);
  Executor executor(llm.session(), c.executor);
  std::vector<ExecutorRequest> requests(times.size());
  std::vector<int32_t> prefix;
  for (int64_t i = 0; i < std::min(c.shared_prefix, c.input); ++i) prefix.push_back(id(random));
  for (ExecutorRequest& r : requests) {
    r.tokens = prefix;
    while (static_cast<int64_t>(r.tokens.size()) < c.input) r.tokens.push_back(id(random));
    r.params.temperature = 0;
    r.params.ignore_eos = true;
    r.params.max_tokens = c.output;
  }
  const auto start = Clock::now();
  for (size_t i = 0; i < times.size(); ++i) {
    Times& t = times[i];
    t.queued = Clock::now();
    executor.enqueue(std::move(requests[i]), [&](const ExecutorEvent& e) {
      if (e.token) {
        t.last = Clock::now();
        if (t.tokens++ == 0) t.first = t.last;
        t.hash = (t.hash ^ static_cast<uint64_t>(*e.token)) * 0x100000001b3u;
      }
      if (!e.last()) return;
      std::lock_guard lock(mutex);
      if (!e.error.empty()) error = e.error;
      if (--left == 0) ended.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex);
    ended.wait(lock, [&] { return left == 0; });
  }
  if (!error.empty()) fail("a request failed: {}", error);
  ManagerResult r;
  std::vector<double> ttft, tpot, latency;
  for (const Times& t : times) {
    r.total_s = std::max(r.total_s, seconds(start, t.last));
    r.tokens += t.tokens;
    r.tokens_hash = r.tokens_hash * 31 + t.hash;
    ttft.push_back(seconds(t.queued, t.first) * 1e3);
    latency.push_back(seconds(t.queued, t.last) * 1e3);
    if (t.tokens > 1)
      tpot.push_back(seconds(t.first, t.last) * 1e3 / static_cast<double>(t.tokens - 1));
  }
  const ExecutorStats stats = executor.stats();
  r.ttft_ms = mean(ttft);
  r.latency_ms = mean(latency);
  r.tpot_ms = tpot.empty() ? 0 : mean(tpot);
  std::ranges::sort(ttft);
  r.ttft_p99_ms = ttft[(ttft.size() - 1) * 99 / 100];
  r.step_share = stats.step_s / stats.busy_s;
  r.steps = stats.steps;
  r.preemptions = stats.preemptions;
  r.reused_tokens = stats.reused_tokens;
  r.kv_shared = stats.kv_shared;
  r.kv_waste = stats.kv_waste;
  return r;
}

}  // namespace tokamak::cli

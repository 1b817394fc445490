// What /metrics tells Prometheus: vLLM's names and buckets under "tokamak:".
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "tokamak/executor.h"

namespace tokamak::serve {

class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1) {}
  void add(double value);
  void print(std::string& out, const std::string& name, const std::string& labels) const;

 private:
  std::span<const double> bounds_;  // upper ones, rising
  std::vector<uint64_t> counts_;    // the last: beyond all
  double sum_ = 0;
};

class Metrics {
 public:
  explicit Metrics(const std::string& model);

  void first_token(double since_arrival_s);
  void next_token(double since_last_s);
  // finished_reason: stop, length, abort, error.
  void ended(const std::string& reason, int64_t prompt_tokens, int64_t tokens, double e2e_s,
             double tpot_s);
  void answered(int status);

  std::string print(const ExecutorStats& stats) const;

 private:
  mutable std::mutex mutex_;
  std::string model_;  // as a label
  Histogram ttft_, itl_, tpot_, e2e_, prompt_, generated_;
  std::map<std::string, uint64_t> reasons_;
  std::map<int, uint64_t> statuses_;
};

}  // namespace tokamak::serve

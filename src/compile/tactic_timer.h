// Times tactics of one signature on the device as a step would use them: weights rotate through
// copies that do not fit in the caches, and candidates race (race.h).
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "compile/race.h"
#include "compile/timing_cache.h"
#include "compile/weight_source.h"

namespace tokamak {

struct TimerOptions {
  int64_t context = 512;  // KV tokens that a decoding sequence has
  DType kv_dtype = DType::f16;
  RaceOptions race;
};

class TacticTimer {
 public:
  // `weights`: one per weight input of the signature, in order.
  TacticTimer(Backend& backend, WeightSource& source, const OpSignature& signature,
              std::vector<const PlanWeight*> weights, const TimerOptions& options);
  ~TacticTimer();
  // Best µs of each candidate for steps of `tokens` tokens (rows of logits, where the op has them).
  BucketTimes time(const std::vector<const Tactic*>& candidates, int32_t tokens);

 private:
  struct Packed;
  struct Run;
  struct Step;
  int copies() const;
  const Packed& packed(size_t weight, const std::string& layout);
  Run prepare(const Tactic& tactic, const Step& step);
  std::unique_ptr<Step> make_step(int32_t tokens);
  void make_cache(Step& step, int32_t blocks);
  void make_operands(Step& step);
  void record(Run& run, const StepContext& context, double us);

  Backend& backend_;
  WeightSource& source_;
  OpSignature signature_;
  std::vector<const PlanWeight*> weights_;
  TimerOptions options_;
  std::map<std::pair<size_t, std::string>, std::unique_ptr<Packed>> packed_;
};

}  // namespace tokamak

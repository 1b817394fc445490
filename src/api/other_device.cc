#include "api/other_device.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_plugin.h"
#include "base/log.h"
#include "engine/numerics.h"

namespace tokamak {
namespace {

std::unique_ptr<Backend> open_other(bool here_is_cpu) {
  if (!here_is_cpu) return make_cpu_backend({.workers = 1, .isa = {}});
  try {
    return load_cuda_backend({.offline = true});
  } catch (const Error& e) {
    log::debug("no layouts of CUDA: {}", e.what());
    return nullptr;
  }
}

// The weights of an engine as its checkpoint had them.
class EngineWeights final : public WeightSource {
 public:
  EngineWeights(const EngineFile& engine, const Backend& here, const LayoutLookup& others)
      : engine_(engine), here_(here), others_(others) {
    const auto& weights = engine.plan().weights;
    for (size_t i = 0; i < weights.size(); ++i) by_name_.emplace(weights[i].names, i);
  }

  TensorView load(const PlanWeight& weight) override {
    const size_t i = by_name_.at(weight.names);
    const PlanWeight& stored = engine_.plan().weights[i];
    const auto packed = engine_.weight(i);
    const TensorView view{stored.dtype, shape_of(stored), packed.data()};
    if (stored.shape.size() < 2 || stored.layout == "plain") return view;
    const WeightLayout* layout = here_.layout(stored.layout);
    if (!layout) layout = others_(stored.layout);
    if (!layout)
      fail("'{}': weight '{}' is stored in layout '{}', which this program does not know",
           engine_.path().string(), stored.names[0], stored.layout);
    plain_.resize(view.bytes());
    layout->unpack(view.dtype, view.shape, packed.data(), plain_.data());
    return {view.dtype, view.shape, plain_.data()};
  }
  void release(const TensorView&, int64_t, int64_t) override {}

 private:
  const EngineFile& engine_;
  const Backend& here_;
  const LayoutLookup& others_;
  std::map<std::vector<std::string>, size_t> by_name_;
  std::vector<std::byte> plain_;
};

std::vector<int32_t> buckets(const Plan& plan, bool rows) {
  std::set<int32_t> all;
  for (const PlanStep& s : plan.steps)
    if (is_row_step(plan, s) == rows)
      for (const TacticChoice& c : s.choices) all.insert(c.bucket);
  if (all.empty()) all.insert(1);
  return {all.begin(), all.end()};
}

}  // namespace

LayoutLookup other_layouts(const Backend& here) {
  struct Other {
    std::unique_ptr<Backend> backend;
    bool opened = false;
  };
  return [is_cpu = here.name() == "cpu",
          other = std::make_shared<Other>()](std::string_view name) -> const WeightLayout* {
    if (!other->opened) other->backend = open_other(is_cpu);
    other->opened = true;
    return other->backend ? other->backend->layout(name) : nullptr;
  };
}

bool needs_tuning(const EngineConfig& engine, const Backend& here) {
  return !here.in_host_memory() && engine.device != here.properties().name;
}

void tune_again(EngineFile& engine, const EngineConfig& config, Backend& here,
                const LayoutLookup& layouts, const std::filesystem::path& timing_cache) {
  Plan plan = engine.plan();
  for (PlanWeight& w : plan.weights) w.layout = "plain";  // as the source gives them
  TimingCache cache;
  std::error_code ignored;
  if (std::filesystem::exists(timing_cache, ignored)) cache.load(timing_cache);
  TuneOptions options;
  options.deterministic = is_deterministic(plan);
  options.token_buckets = buckets(plan, false);
  options.row_buckets = buckets(plan, true);
  options.timer.kv_dtype = plan.kv_dtype;
  options.timer.context = std::min<int64_t>(config.limits.max_seq_len, options.timer.context);
  const std::unique_ptr<WeightSource> source =
      plan.random_weights != 0 ? make_random_source(plan.random_weights)
                               : std::make_unique<EngineWeights>(engine, here, layouts);
  const TuneReport report = choose_tactics(plan, here, *source, cache, options);
  for (size_t i = 0; i < plan.steps.size(); ++i)
    engine.plan().steps[i].choices = plan.steps[i].choices;
  if (report.timed > 0) {
    std::filesystem::create_directories(timing_cache.parent_path(), ignored);
    cache.save(timing_cache);
  }
  log::warning(
      "engine '{}' was built for {} ({}); its {} steps were tuned again for {} ({}), {:.1f} s; "
      "build it again for full speed",
      engine.path().parent_path().string(), config.device, config.isa, plan.steps.size(),
      here.properties().name, here.properties().isa, report.seconds);
}

}  // namespace tokamak

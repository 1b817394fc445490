#include "api/calibrate.h"

#include <algorithm>
#include <cmath>

#include "api/build.h"
#include "api/model_cache.h"
#include "base/block_codec.h"
#include "base/f8.h"
#include "base/json.h"
#include "base/progress.h"
#include "engine/numerics.h"
#include "formats/model_config.h"
#include "ops/linear.h"
#include "runtime/session.h"
#include "text/tokenizer.h"
#include "tokamak/llm.h"

namespace tokamak {
namespace {

// The inputs of all linears but the lm_head as debug outputs of a plan, and their largest values.
class Largest {
 public:
  void watch(Plan& plan) {
    for (const PlanStep& s : plan.steps) {
      if (s.op != Op::linear && s.op != Op::linear_glu) continue;
      if (linear_kind(plan, s) == LinearKind::lm_head) continue;
      plan.debug_outputs.push_back(s.inputs.at(0));
      std::vector<std::string>& modules = modules_.emplace_back();
      for (const int32_t input : s.inputs) {
        const PlanValue& v = plan.values[static_cast<size_t>(input)];
        if (v.storage != Storage::weight || v.type.shape.size() < 2) continue;
        for (const std::string& name : plan.weights[static_cast<size_t>(v.base)].names)
          modules.push_back(scaled_module(name));
      }
    }
  }

  // The outputs come in the order in which they are watched.
  void take(const DebugTensor& t) {
    std::vector<float> row(static_cast<size_t>(t.columns));
    float largest = 0;
    for (int64_t r = 0; r < t.rows; ++r) {
      dequantize_row(t.dtype, t.data + bytes_of(t.dtype, r * t.row_stride), row.data(), t.columns);
      for (const float x : row) largest = std::max(largest, std::fabs(x));
    }
    for (const std::string& module : modules_.at(next_)) {
      double& all = largest_[module];
      all = std::max(all, static_cast<double>(largest));
    }
    next_ = (next_ + 1) % modules_.size();
  }

  std::map<std::string, double> scales() const {
    constexpr double kLargestCode = 448;
    std::map<std::string, double> scales;
    for (const auto& [module, largest] : largest_) {
      if (!std::isfinite(largest))
        fail("calibration: the activations of '{}' are not finite", module);
      if (largest > 0) scales[module] = largest / kLargestCode;
    }
    return scales;
  }

 private:
  std::vector<std::vector<std::string>> modules_;
  size_t next_ = 0;
  std::map<std::string, double> largest_;
};

}  // namespace

std::map<std::string, double> calibrate_activations(const CalibrateOptions& o) {
  if (o.windows < 1 || o.window_tokens < 1)
    fail("--calib_size is {} and --calib_max_seq_length {}, expected 1 or more", o.windows,
         o.window_tokens);
  const auto backend = make_backend("cpu", o.workers);
  LLMOptions options;
  options.activation_bits = "16";
  options.tuning = false;
  const std::filesystem::path engine = engine_of(o.model, options, *backend);
  const std::vector<int32_t> tokens = Tokenizer::load(engine).encode(read_text(o.text));
  const auto most = static_cast<int64_t>(tokens.size()) / o.window_tokens;
  if (most == 0)
    fail("'{}' has {} tokens; --calib_max_seq_length {} needs at least as many", o.text.string(),
         tokens.size(), o.window_tokens);
  Largest largest;
  SessionOptions session_options;
  session_options.prepare = [&](EngineFile& file, const EngineConfig&) {
    if (!file.plan().debug_outputs.empty())
      fail("'{}' was built with debug outputs; calibrate another", engine.string());
    largest.watch(file.plan());
  };
  Session session(engine, *backend, session_options);
  session.set_debug_sink([&](const DebugTensor& t) { largest.take(t); });
  const int64_t count = std::min(o.windows, most);
  Progress progress("calibrate", count, "windows");
  for (int64_t w = 0; w < count; ++w) {
    const SequenceInput input{session.add_sequence(),
                              std::span(tokens).subspan(static_cast<size_t>(w * o.window_tokens),
                                                        static_cast<size_t>(o.window_tokens)),
                              WantLogits::none};
    session.step({&input, 1});
    session.remove_sequence(input.sequence);
    progress.add(1, "");
  }
  progress.finish();
  return largest.scales();
}

}  // namespace tokamak

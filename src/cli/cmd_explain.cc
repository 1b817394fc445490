// tokamak explain: where a step's time goes, launch by launch, against the machine's measured
// limits.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/tuning_table.h"
#include "runtime/session.h"

namespace tokamak::cli {
namespace {

struct ExplainOptions {
  ModelOptions model;
  int64_t batch = 1, tokens = 0, context = 128;
  int repeat = 20;
  bool verbose = false, json = false;
};

struct Row {
  std::string what, tactic;
  int64_t launches = 0;
  double us = 0, bytes = 0, flops = 0;
};

struct Report {
  std::vector<Row> rows;                     // by op (and tactic), or per launch with --verbose
  double step_us = 0;                        // median of unprofiled steps
  double profiled_us = 0, accounted_us = 0;  // per step, while profiling
};

using Clock = std::chrono::steady_clock;

std::vector<int32_t> random_tokens(int64_t n, int64_t vocab, std::mt19937& random) {
  std::uniform_int_distribution<int32_t> id(0, static_cast<int32_t>(vocab) - 1);
  std::vector<int32_t> tokens(n);
  for (int32_t& t : tokens) t = id(random);
  return tokens;
}

// One step of `tokens` more tokens for every sequence at length `context`; truncated afterwards.
class StepRunner {
 public:
  StepRunner(Session& session, const ExplainOptions& o) : session_(session), context_(o.context) {
    std::mt19937 random(1);
    session.reserve((o.context + o.tokens) * o.batch, o.batch);
    std::vector<std::vector<int32_t>> prompts;
    for (int64_t b = 0; b < o.batch; ++b) {
      sequences_.push_back(session.add_sequence());
      tokens_.push_back(random_tokens(o.tokens, session.vocab_size(), random));
      prompts.push_back(random_tokens(o.context, session.vocab_size(), random));
    }
    std::vector<SequenceInput> before;
    for (size_t b = 0; b < prompts.size(); ++b)
      before.push_back({sequences_[b], prompts[b], WantLogits::none});
    if (o.context > 0) session.step(before);
    for (size_t b = 0; b < sequences_.size(); ++b)
      inputs_.push_back({sequences_[b], tokens_[b], WantLogits::last});
  }
  ~StepRunner() {
    for (const int32_t s : sequences_) session_.remove_sequence(s);
  }
  double run_us() {
    const auto begin = Clock::now();
    session_.step(inputs_);
    const double us = std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
    for (const int32_t s : sequences_) session_.truncate(s, static_cast<int32_t>(context_));
    return us;
  }

 private:
  Session& session_;
  int64_t context_;
  std::vector<int32_t> sequences_;
  std::vector<std::vector<int32_t>> tokens_;
  std::vector<SequenceInput> inputs_;
};

Report measure(Session& session, const ExplainOptions& o) {
  StepRunner runner(session, o);
  Report report;
  std::vector<double> plain;
  runner.run_us();
  for (int i = 0; i < o.repeat; ++i) plain.push_back(runner.run_us());
  std::nth_element(plain.begin(), plain.begin() + plain.size() / 2, plain.end());
  report.step_us = plain[plain.size() / 2];

  Session::Profile profile;
  session.set_profile(&profile);
  for (int i = 0; i < o.repeat; ++i) report.profiled_us += runner.run_us() / o.repeat;
  session.set_profile(nullptr);

  std::map<std::string, size_t> index;
  for (size_t s = 0; s < session.plan().steps.size(); ++s) {
    const PlanStep& step = session.plan().steps[s];
    const std::string tactic(session.program().tactic(s, o.tokens * o.batch, o.batch));
    const std::string what = o.verbose ? step.name : std::string(name(step.op));
    const auto [it, fresh] =
        index.try_emplace(o.verbose ? std::to_string(s) : what + "|" + tactic, report.rows.size());
    if (fresh) report.rows.push_back({what, tactic});
    Row& row = report.rows[it->second];
    ++row.launches;
    row.us += profile.us[s] / o.repeat;
    row.bytes += profile.bytes[s] / o.repeat;
    row.flops += profile.flops[s] / o.repeat;
    report.accounted_us += profile.us[s] / o.repeat;
  }
  if (!o.verbose)
    std::sort(report.rows.begin(), report.rows.end(),
              [](const Row& a, const Row& b) { return a.us > b.us; });
  return report;
}

// Time that the bytes or the arithmetic need at the measured limits, and which of the two it is.
struct Floor {
  double us = 0;
  bool memory = true;
};
Floor floor_of(const Row& row, const DeviceLimits& limits) {
  const double memory = row.bytes / (limits.read_gb_s * 1e3);
  const double best_gflop = std::max({limits.f32_gflop_s, limits.bf16_gflop_s, limits.int8_gop_s});
  const double compute = row.flops / (best_gflop * 1e3);
  return {std::max(memory, compute), memory >= compute};
}

Json to_json(const Report& r, const DeviceLimits& limits) {
  Json rows = Json::array();
  double floor = 0;
  for (const Row& row : r.rows) {
    const Floor f = floor_of(row, limits);
    floor += f.us;
    rows.push_back({{"what", row.what},
                    {"tactic", row.tactic},
                    {"launches", row.launches},
                    {"us", row.us},
                    {"bytes", row.bytes},
                    {"flops", row.flops},
                    {"gb_s", row.us > 0 ? row.bytes / row.us / 1e3 : 0},
                    {"gflop_s", row.us > 0 ? row.flops / row.us / 1e3 : 0},
                    {"floor_us", f.us},
                    {"bound", f.memory ? "memory" : "compute"}});
  }
  return {{"rows", rows},
          {"step_us", r.step_us},
          {"profiled_us", r.profiled_us},
          {"accounted_us", r.accounted_us},
          {"accounted_part", r.accounted_us / r.profiled_us},
          {"floor_us", floor},
          {"limits",
           {{"read_gb_s", limits.read_gb_s},
            {"f32_gflop_s", limits.f32_gflop_s},
            {"bf16_gflop_s", limits.bf16_gflop_s},
            {"int8_gop_s", limits.int8_gop_s}}}};
}

void print(const Json& report) {
  const double step = report["accounted_us"];
  fmt::print("{:32} {:34} {:>5} {:>10} {:>6} {:>8} {:>9} {:>9} {:>8}\n", "what", "tactic", "n",
             "us", "%", "GB/s", "GFLOP/s", "% limit", "bound");
  for (const Json& r : report["rows"]) {
    const double us = r["us"];
    fmt::print(
        "{:32} {:34} {:>5} {:>10.1f} {:>6.1f} {:>8.1f} {:>9.1f} {:>9.0f} {:>8}\n",
        r["what"].get<std::string>(), r["tactic"].get<std::string>(), r["launches"].get<int64_t>(),
        us, step > 0 ? 100 * us / step : 0.0, r["gb_s"].get<double>(), r["gflop_s"].get<double>(),
        us > 0 ? 100 * r["floor_us"].get<double>() / us : 0.0, r["bound"].get<std::string>());
  }
  const Json& l = report["limits"];
  fmt::print(
      "\nlimits measured here: read {:.1f} GB/s; f32 {:.0f}, bf16 {:.0f} GFLOP/s; int8 {:.0f} "
      "Gop/s\n",
      l["read_gb_s"].get<double>(), l["f32_gflop_s"].get<double>(), l["bf16_gflop_s"].get<double>(),
      l["int8_gop_s"].get<double>());
  fmt::print(
      "step {:.1f} us (median, unprofiled); profiled {:.1f} us, of which the table accounts for "
      "{:.1f} %; "
      "floor {:.1f} us\n",
      report["step_us"].get<double>(), report["profiled_us"].get<double>(),
      100 * report["accounted_part"].get<double>(), report["floor_us"].get<double>());
}

int explain(ExplainOptions o) {
  if (o.tokens == 0) o.tokens = 1;
  LLM llm(o.model.path(), o.model.llm);
  Session& session = llm.session();
  const DeviceLimits limits = session.backend().measure_limits();
  const Report report = measure(session, o);
  Json json = to_json(report, limits);
  json["batch"] = o.batch;
  json["tokens_per_sequence"] = o.tokens;
  json["context"] = o.context;
  if (o.json) {
    std::puts(json.dump(2).c_str());
    return 0;
  }
  fmt::print("{} x {} tokens after a context of {}, on {}\n\n", o.batch, o.tokens, o.context,
             session.backend().properties().name);
  print(json);
  if (o.verbose)
    fmt::print("\nThis step as it was tuned\n{}\nEvery step size\n{}",
               step_losers_table(session.plan(), o.batch * o.tokens, o.batch),
               losers_table(session.plan()));
  return 0;
}

}  // namespace

Run declare_explain(CLI::App& app) {
  auto o = std::make_shared<ExplainOptions>();
  add_model_options(app, o->model);
  app.add_option("engine", o->model.engine_dir, "Same as --engine_dir");
  app.add_option("--batch_size", o->batch, "Sequences in the step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--tokens", o->tokens,
                 "Tokens of each sequence in the step: 1 is decode, more is prefill")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--context", o->context, "Tokens already in the KV cache")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--repeat", o->repeat, "Steps that are measured")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--verbose", o->verbose, "Every launch, and the times of the tactics that lost");
  app.add_flag("--json", o->json, "Print one JSON object");
  return [o] { return explain(*o); };
}

}  // namespace tokamak::cli

// tokamak inspect: what a model is, at any stage: config, tensors, graph, plan, memory.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "engine/engine_config.h"
#include "engine/engine_file.h"
#include "engine/memory_plan.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/hf_config.h"
#include "graph/passes/pass.h"
#include "graph/printer.h"
#include "models/checkpoint_weights.h"
#include "models/decoder.h"
#include "models/family.h"

namespace tokamak::cli {
namespace {

struct InspectOptions {
  std::string path, graph;
  int rank = 0;
  bool dot = false, tensors = false, json = false, verify = false;
};

std::string size_text(uint64_t bytes) {
  return bytes < 10'000'000 ? fmt::format("{:.1f} KB", bytes / 1e3)
                            : fmt::format("{:.1f} MB", bytes / 1e6);
}

// "name: value" lines of a flat JSON object; nested ones with dots.
void print_fields(const Json& json, const std::string& prefix = {}) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_object() && !value.empty())
      print_fields(value, prefix + key + ".");
    else if (!value.is_null() && !(value.is_structured() && value.empty()))
      fmt::print("  {:34} {}\n", prefix + key,
                 value.is_string() ? value.get<std::string>() : value.dump());
  }
}

// Parameters and bytes by dtype, then every tensor when asked for.
Json summarize(const TensorMap& tensors, const InspectOptions& o) {
  std::map<std::string, std::pair<int64_t, uint64_t>> by_dtype;
  Json list = Json::array();
  for (const auto& [name, t] : tensors) {
    auto& [elems, bytes] = by_dtype[std::string(info(t.dtype).name)];
    elems += t.shape.elems();
    bytes += t.bytes();
    if (o.tensors)
      list.push_back({{"name", name},
                      {"dtype", info(t.dtype).name},
                      {"bytes", t.bytes()},
                      {"shape", std::vector<int64_t>(t.shape.begin(), t.shape.end())}});
  }
  Json out{{"count", tensors.size()}, {"dtypes", Json::object()}};
  for (const auto& [dtype, sums] : by_dtype)
    out["dtypes"][dtype] = {{"parameters", sums.first}, {"bytes", sums.second}};
  if (o.tensors) out["list"] = list;
  return out;
}

void print_tensors(const Json& summary) {
  fmt::print("Tensors: {}\n", summary["count"].get<size_t>());
  for (const auto& [dtype, sums] : summary["dtypes"].items())
    fmt::print("  {:8} {:>14} parameters  {:>12}\n", dtype, sums["parameters"].get<int64_t>(),
               size_text(sums["bytes"].get<uint64_t>()));
  if (!summary.contains("list")) return;
  for (const Json& t : summary["list"])
    fmt::print("  {:60} {:6} {:20} {:>12}\n", t["name"].get<std::string>(),
               t["dtype"].get<std::string>(), t["shape"].dump(),
               size_text(t["bytes"].get<uint64_t>()));
}

int show(const char* kind, const Json& config, const TensorMap& tensors, const InspectOptions& o) {
  if (!o.graph.empty())
    fail("'{}' is a {}: --graph needs a checkpoint (tokamak convert) or an engine (tokamak build)",
         o.path, kind);
  const Json summary = summarize(tensors, o);
  if (o.json) {
    std::puts(Json{{"kind", kind}, {"config", config}, {"tensors", summary}}.dump(2).c_str());
    return 0;
  }
  fmt::print("{}: {}\n", kind, o.path);
  print_fields(config);
  print_tensors(summary);
  return 0;
}

int inspect_gguf(const InspectOptions& o) {
  const GgufFile file{o.path};
  const Family& family = family_of_gguf(file.get_string("general.architecture"), o.path);
  return show("GGUF model", model_config_from_gguf(file, family).to_json(), file.tensors(), o);
}

int inspect_hf(const InspectOptions& o) {
  const HfConfig hf = load_hf_config(o.path);
  const SafetensorsSet weights(o.path);
  const Family& family = family_of_architecture(hf.architecture, o.path);
  return show("Hugging Face model", model_config_from_hf(hf, family).to_json(), weights.tensors(),
              o);
}

int inspect_checkpoint(const InspectOptions& o) {
  const Checkpoint checkpoint = Checkpoint::open(o.path, o.rank);
  if (o.graph.empty()) {
    TensorMap tensors;
    for (const std::string& name : checkpoint.names())
      tensors.emplace(name, checkpoint.tensor(name));
    return show("checkpoint", checkpoint.config().to_json(), tensors, o);
  }
  Graph graph = build_decoder(checkpoint.config(), checkpoint_weights(checkpoint));
  if (o.graph == "fused") {
    for (const PassReport& r : run_passes(graph, default_passes()))
      if (r.rewrites) fmt::print(stderr, "{:28} {} rewrites\n", r.name, r.rewrites);
  } else if (o.graph != "model") {
    fail("--graph '{}' is unknown for a checkpoint; known: model, fused", o.graph);
  }
  std::fputs((o.dot ? to_dot(graph) : to_text(graph)).c_str(), stdout);
  return 0;
}

// What the arithmetic of a step is allowed or bound to beyond its op.
std::string numerics_text(const PlanStep& step) {
  std::string text;
  if (step.attrs.get_or<int64_t>("activation_bits", 16) != 16) text += " activation_bits=8";
  if (step.attrs.get_or<bool>("deterministic", false)) text += " deterministic";
  return text;
}

void print_plan(const Plan& plan) {
  const auto type_of = [&](int32_t id) { return str(plan.values.at(id).type); };
  for (const PlanStep& step : plan.steps) {
    std::vector<std::string> in, out, tactics;
    for (const int32_t i : step.inputs) in.push_back(type_of(i));
    for (const int32_t i : step.outputs) out.push_back(type_of(i));
    for (size_t c = 0; c < step.choices.size(); ++c) {  // equal neighbours as one
      const TacticChoice& choice = step.choices[c];
      const bool last = c + 1 == step.choices.size();
      if (last || step.choices[c + 1].tactic != choice.tactic)
        tactics.push_back(last ? choice.tactic
                               : fmt::format("≤{}: {}", choice.bucket, choice.tactic));
    }
    fmt::print("{:44} {} = {}({}){}  [{}]\n", step.name, fmt::join(out, ", "), name(step.op),
               fmt::join(in, ", "), numerics_text(step), fmt::join(tactics, "; "));
  }
}

int inspect_engine(const InspectOptions& o) {
  const EngineConfig config = read_engine_config(o.path);
  const EngineFile engine = EngineFile::open(engine_path(o.path, o.rank));
  const Plan& plan = engine.plan();
  if (o.verify) engine.verify_weights();
  if (!o.graph.empty() && o.graph != "plan")
    fail("--graph '{}' is unknown for an engine; known: plan", o.graph);
  if (o.json) {
    std::puts(Json{{"kind", "engine"}, {"config", config.to_json()}, {"plan", plan.to_json()}}
                  .dump(2)
                  .c_str());
    return 0;
  }
  if (!o.graph.empty()) {
    print_plan(plan);
    return 0;
  }
  fmt::print("engine: {}\n", o.path);
  print_fields(config.to_json());
  fmt::print("Plan: {} launches, {} weights ({}), KV {} bytes per token\n", plan.steps.size(),
             plan.weights.size(), size_text(weight_bytes(plan)), kv_bytes_per_token(plan));
  if (o.tensors)
    for (const PlanWeight& w : plan.weights)
      fmt::print("  {:64} {:6} {:20} {:20} {:>12}\n", fmt::format("{}", fmt::join(w.names, " + ")),
                 name(w.dtype), fmt::format("[{}]", fmt::join(w.shape, ", ")), w.layout,
                 size_text(w.bytes));
  return 0;
}

int inspect(const InspectOptions& o) {
  const std::filesystem::path path(o.path);
  if (std::filesystem::is_regular_file(path)) return inspect_gguf(o);
  if (!std::filesystem::is_directory(path)) fail("'{}' is neither a file nor a directory", o.path);
  if (is_engine_directory(path)) return inspect_engine(o);
  if (std::filesystem::exists(path / "rank0.safetensors")) return inspect_checkpoint(o);
  return inspect_hf(o);
}

}  // namespace

Run declare_inspect(CLI::App& app) {
  auto o = std::make_shared<InspectOptions>();
  app.add_option("model", o->path, "HF directory, .gguf file, checkpoint or engine directory")
      ->required();
  app.add_option("--graph", o->graph, "Print the graph: model, fused (checkpoint); plan (engine)");
  app.add_flag("--dot", o->dot, "With --graph: Graphviz instead of text");
  app.add_flag("--tensors", o->tensors, "List every tensor");
  app.add_flag("--verify", o->verify, "Check an engine's weights against their checksum");
  app.add_option("--rank", o->rank, "Which rank's file")->capture_default_str();
  app.add_flag("--json", o->json, "Print one JSON object");
  return [o] { return inspect(*o); };
}

}  // namespace tokamak::cli

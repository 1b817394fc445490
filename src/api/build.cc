#include "api/build.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/random_weights.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cuda_plugin.h"
#include "base/log.h"
#include "engine/kv_layout.h"
#include "engine/lora_plan.h"
#include "formats/atomic_output.h"
#include "formats/checkpoint.h"
#include "formats/text_files.h"
#include "models/checkpoint_weights.h"
#include "models/decoder.h"
#include "ops/lora.h"
#include "tokamak/version.h"

namespace tokamak {
namespace {

constexpr uint64_t kRandomSeed = 1;

BuildLimits make_limits(const BuildOptions& o, const ModelConfig& config, const Backend& backend) {
  BuildLimits l;
  if (!backend.in_host_memory()) {  // a device that is made for many tokens at once
    l.max_batch_size = 64;
    l.max_num_tokens = 8192;
  }
  const auto set = [](int64_t& field, int64_t value) { field = value != 0 ? value : field; };
  if (config.max_position_embeddings > 0)
    l.max_seq_len = std::min(l.max_seq_len, config.max_position_embeddings);
  set(l.max_seq_len, o.max_seq_len);
  l.max_input_len = std::min(l.max_input_len, l.max_seq_len);
  set(l.max_input_len, o.max_input_len);
  if (o.max_seq_len == 0) l.max_seq_len = std::max(l.max_seq_len, l.max_input_len);
  set(l.max_batch_size, o.max_batch_size);
  set(l.max_num_tokens, o.max_num_tokens);
  set(l.max_beam_width, o.max_beam_width);
  l.validate();
  return l;
}

DType kv_dtype(const BuildOptions& o, const ModelConfig& config) {
  const bool exact = config.dtype == DType::f32 && config.quantization.quant_algo.empty();
  if (o.kv_cache_dtype != "auto") return parse_kv_dtype(o.kv_cache_dtype);
  const std::string& algo = config.quantization.kv_cache_quant_algo;
  if (algo == "INT8") return DType::int8_row;
  if (algo == "FP8") return DType::f8e4m3;
  if (!algo.empty())
    fail(
        "quantization.kv_cache_quant_algo is '{}', expected INT8 or FP8 (or give --kv_cache_dtype)",
        algo);
  return exact ? DType::f32 : DType::f16;
}

void copy_text_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const std::string_view file : kTextFiles) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(from / file, ignored))
      std::filesystem::copy_file(from / file, to / file);
  }
}

CompileReport build_into(const BuildOptions& options, const ModelConfig& config, Backend& backend,
                         WeightSource& source, const nn::WeightLookup& lookup) {
  if (config.mapping.world_size() != 1)
    fail("'{}' is split for {} ranks; this backend runs one (convert with --tp_size 1 --pp_size 1)",
         options.checkpoint_dir.string(), config.mapping.world_size());
  parse_lora_targets(options.lora_target_modules);  // refused before any work
  if (options.max_lora_rank < 0 || options.max_lora_rank > kMostLoraRank)
    fail("--max_lora_rank is {}, expected 1 to {} (0: no adapters)", options.max_lora_rank,
         kMostLoraRank);
  CompileOptions compile;
  compile.limits = make_limits(options, config, backend);
  compile.kv_dtype = kv_dtype(options, config);
  compile.tune = options.tuning;
  compile.activation_bits = options.activation_bits;
  compile.activation_scales = config.quantization.activation_scales;
  compile.deterministic = options.deterministic;
  compile.debug_tensors = options.debug_tensors;
  if (options.weights_at_open) compile.random_weights = kRandomSeed;
  Graph graph = build_decoder(config, lookup, backend.activation_dtype(config.dtype),
                              load_plugins(options.plugins));

  AtomicDirectory directory(options.output_dir, options.overwrite);
  TimingCache cache;
  std::error_code ignored;
  const bool has_cache = !options.timing_cache.empty();
  if (has_cache && std::filesystem::exists(options.timing_cache, ignored))
    cache.load(options.timing_cache);
  const CompileReport report = compile_engine(std::move(graph), source, backend, cache, compile,
                                              engine_path(directory.path(), 0));
  EngineConfig engine;
  engine.version = kVersion;
  engine.pretrained = config.to_json();
  engine.limits = compile.limits;
  engine.kv_cache_dtype = compile.kv_dtype;
  engine.debug_tensors = compile.debug_tensors;
  engine.activation_bits = compile.activation_bits;
  engine.deterministic = compile.deterministic;
  engine.max_lora_rank = options.max_lora_rank;
  engine.lora_target_modules = options.lora_target_modules;
  engine.device = backend.properties().name;
  engine.isa = backend.properties().isa;
  write_file(directory.path() / "config.json", engine.to_json().dump(2) + "\n");
  cache.save(directory.path() / "timing.cache");
  if (!options.checkpoint_dir.empty()) copy_text_files(options.checkpoint_dir, directory.path());
  directory.commit();
  if (has_cache) cache.save(options.timing_cache);

  const TuneReport& t = report.tuning;
  log::info(
      "{} steps; {} signatures; {} of their buckets timed ({} tactics, {} looked at twice), {} "
      "from "
      "the timing cache, in {:.1f} s",
      report.steps, t.signatures, t.timed, t.timed_tactics, t.second_looks, t.cached, t.seconds);
  if (!options.quiet)
    fmt::print(stderr, "memory of '{}':\n{}", options.output_dir.string(), report.memory.table());
  return report;
}

}  // namespace

std::unique_ptr<Backend> make_backend(const std::string& device, int workers,
                                      const std::string& isa, const PluginLibraries& plugins) {
  std::unique_ptr<Backend> backend;
  if (device == "cpu")
    backend = make_cpu_backend({.workers = workers, .isa = isa});
  else if (device == "cuda")
    backend = load_cuda_backend();
  else
    fail("--device is '{}'; expected cpu or cuda", device);
  for (const auto& plugin : plugins) backend->add_plugin(plugin);
  return backend;
}

PluginLibraries load_plugins(const std::vector<std::string>& paths) {
  PluginLibraries list;
  for (const std::string& path : paths) list.push_back(PluginLibrary::load(path));
  return list;
}

CompileReport build(const BuildOptions& options, Backend& backend) {
  const Checkpoint checkpoint = Checkpoint::open(options.checkpoint_dir, 0);
  const auto source = make_checkpoint_source(checkpoint);
  return build_into(options, checkpoint.config(), backend, *source, checkpoint_weights(checkpoint));
}

CompileReport build_random(const std::filesystem::path& model_config, DType weight_dtype,
                           const BuildOptions& options, Backend& backend) {
  ModelConfig config = read_any_config(model_config, weight_dtype);
  const auto source = make_random_source(kRandomSeed);
  const auto lookup = decoder_weight_shapes(config, weight_dtype, options.quantization);
  if (options.quantization) QuantPolicy(options.quantization, config).describe(config.quantization);
  return build_into(options, config, backend, *source, lookup);
}

namespace {

// Without a GPU an engine for one can still be built, by estimates: it is tuned where it is opened.
std::unique_ptr<Backend> backend_to_build_for(const BuildOptions& o) {
  const PluginLibraries plugins = load_plugins(o.plugins);
  if (o.device != "cuda") return make_backend(o.device, o.workers, {}, plugins);
  try {
    return make_backend(o.device, o.workers, {}, plugins);
  } catch (const Error& e) {
    if (o.tuning) fail("{} (--no_tuning builds an engine without a GPU)", e.what());
    auto backend = load_cuda_backend({.offline = true});
    for (const auto& plugin : plugins) backend->add_plugin(plugin);
    log::warning("{}; the engine will be tuned where it is opened", e.what());
    return backend;
  }
}

}  // namespace

CompileReport build(const BuildOptions& options) {
  const auto backend = backend_to_build_for(options);
  return build(options, *backend);
}

}  // namespace tokamak

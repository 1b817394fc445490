// tokamak build: a checkpoint → an engine.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "api/build.h"
#include "cli/command.h"
#include "cli/tuning_table.h"
#include "engine/engine_config.h"
#include "engine/engine_file.h"

namespace tokamak::cli {
namespace {

void print_tuning(const BuildOptions& o, const CompileReport& report, bool verbose) {
  const EngineFile engine = EngineFile::open(engine_path(o.output_dir, 0));
  const TuneReport& t = report.tuning;
  fmt::print(stderr, "tuning of '{}':\n{}", o.output_dir.string(), tuning_table(engine.plan()));
  fmt::print(stderr,
             "  {} signatures; of their step sizes {} were timed ({} tactics, {} looked at twice), "
             "{} known from the timing cache; {:.1f} s\n",
             t.signatures, t.timed, t.timed_tactics, t.second_looks, t.cached, t.seconds);
  if (verbose) fmt::print(stderr, "{}", losers_table(engine.plan()));
}

}  // namespace

Run declare_build(CLI::App& app) {
  auto o = std::make_shared<BuildOptions>();
  auto verbose = std::make_shared<bool>(false);
  app.add_option("--checkpoint_dir", o->checkpoint_dir, "Checkpoint (of tokamak convert)")
      ->required();
  app.add_option("--output_dir", o->output_dir, "Engine directory to write")->required();
  app.add_option("--max_batch_size", o->max_batch_size, "Sequences to tune for (default 8)");
  app.add_option("--max_input_len", o->max_input_len, "Prompt tokens to tune for (default 1024)");
  app.add_option("--max_seq_len", o->max_seq_len, "Prompt and answer together (default 2048)");
  app.add_option("--max_num_tokens", o->max_num_tokens, "Tokens of one step (default 512)");
  app.add_option("--max_beam_width", o->max_beam_width, "Beams to tune for (default 1)");
  app.add_option("--max_lora_rank", o->max_lora_rank,
                 "Largest rank of LoRA adapters that the engine takes; 0: none")
      ->capture_default_str();
  app.add_option("--lora_target_modules", o->lora_target_modules,
                 "Linears that take adapters (q_proj, …, down_proj); default all");
  app.add_option_function<std::string>(
         "--lora_plugin", [](const std::string&) {},
         "Accepted from TensorRT-LLM's users; --max_lora_rank decides")
      ->group("");
  app.add_option("--kv_cache_dtype", o->kv_cache_dtype,
                 "auto, float32, float16, bfloat16, int8 (a scale per head and token) or fp8")
      ->check(CLI::IsMember({"auto", "float32", "float16", "bfloat16", "int8", "fp8"}))
      ->capture_default_str();
  app.add_flag("!--no_tuning", o->tuning, "Choose tactics by estimate instead of by timing");
  app.add_option("--activation_bits", o->activation_bits,
                 "Of linears: auto, 8, 16, or the kinds that get 8, e.g. gate_up,down (qkv, "
                 "attention_out, gate_up, down, lm_head, other)")
      ->capture_default_str();
  app.add_flag("--deterministic", o->deterministic,
               "Results that do not depend on batch, chunks or workers, bit for bit");
  app.add_option("--timing_cache", o->timing_cache, "Measured times: read if it exists, written");
  app.add_option("--debug_tensors", o->debug_tensors,
                 "Glob over tensor names that `run --debug_dir` can dump");
  app.add_option("--device", o->device, "Backend")->capture_default_str();
  app.add_option("--workers", o->workers, "CPU threads; 0: one per allowed core")
      ->capture_default_str();
  app.add_option("--plugin", o->plugins,
                 "Library with ops of your own (docs/plugins.md); may be given several times");
  app.add_flag("--overwrite", o->overwrite, "Replace an output directory that exists");
  app.add_flag("--verbose", *verbose, "The tactics that lost, with their times, per step size");
  return [o, verbose] {
    print_tuning(*o, build(*o), *verbose);
    return 0;
  };
}

}  // namespace tokamak::cli

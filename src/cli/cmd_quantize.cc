// tokamak quantize: a checkpoint or a published model → a checkpoint with fp8, int8 or int4
// weights.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "api/calibrate.h"
#include "base/error.h"
#include "cli/command.h"
#include "cli/divergence.h"
#include "cli/quant_options.h"
#include "convert/convert.h"
#include "quant/quantize.h"

namespace tokamak::cli {
namespace {

struct Flags {
  std::string checkpoint_dir, model_dir, output_dir, qformat, dtype = "auto", eval_text;
  std::string kv_cache_dtype, calib_dataset;
  int64_t calib_size = 512, calib_max_seq_length = 512;
  int64_t eval_ctx = 512, eval_windows = 0;
  QuantOptions quant;
  int tp_size = 1, pp_size = 1, workers = 0;
  bool overwrite = false;
};

QuantReport quantize(const Flags& f) {
  if (!f.eval_text.empty() && (f.tp_size > 1 || f.pp_size > 1))
    fail("--eval_text needs a checkpoint of one rank; --tp_size and --pp_size ask for {}",
         f.tp_size * f.pp_size);
  const QuantRecipe recipe = f.quant.recipe(f.qformat);
  const std::string kv_cache_algo = f.kv_cache_dtype == "int8"  ? "INT8"
                                    : f.kv_cache_dtype == "fp8" ? "FP8"
                                                                : "";
  if (f.checkpoint_dir.empty() == f.model_dir.empty())
    fail("give --checkpoint_dir or --model_dir, one of them");
  std::map<std::string, double> scales;
  if (!f.calib_dataset.empty()) {
    if (!recipe.fp8) fail("--calib_dataset goes with --qformat fp8, not with {}", f.qformat);
    scales =
        calibrate_activations({f.model_dir.empty() ? f.checkpoint_dir : f.model_dir,
                               f.calib_dataset, f.calib_size, f.calib_max_seq_length, f.workers});
  }
  if (!f.model_dir.empty()) {
    ConvertOptions o;
    o.model = f.model_dir;
    o.output_dir = f.output_dir;
    o.dtype = f.dtype;
    o.tp_size = f.tp_size;
    o.pp_size = f.pp_size;
    o.workers = f.workers;
    o.quant = recipe;
    o.overwrite = f.overwrite;
    o.kv_cache_quant_algo = kv_cache_algo;
    o.activation_scales = scales;
    return convert(o);
  }
  if (f.dtype != "auto" || f.tp_size != 1 || f.pp_size != 1)
    fail("--dtype, --tp_size and --pp_size go with --model_dir; a checkpoint keeps its own");
  return quantize_checkpoint(
      {f.checkpoint_dir, f.output_dir, recipe, f.workers, f.overwrite, kv_cache_algo, scales});
}

// What the quantization cost, against the model as it was.
void evaluate(const Flags& f) {
  LLMOptions o;
  o.workers = f.workers;
  o.activation_bits = "16";  // only the weights are to differ
  LLM before(f.checkpoint_dir.empty() ? f.model_dir : f.checkpoint_dir, o), after(f.output_dir, o);
  LLM* const models[] = {&after};
  fmt::print("{}",
             compare_models(before, models, f.eval_text, f.eval_ctx, f.eval_windows).at(0).text());
}

}  // namespace

Run declare_quantize(CLI::App& app) {
  auto f = std::make_shared<Flags>();
  app.add_option("--checkpoint_dir", f->checkpoint_dir, "checkpoint to quantize, or");
  app.add_option("--model_dir", f->model_dir, "Hugging Face directory or .gguf file");
  app.add_option("--output_dir", f->output_dir, "checkpoint directory to write")->required();
  app.add_option("--qformat", f->qformat, "fp8, int8_wo, int4_wo")->required();
  add_quant_options(app, f->quant);
  app.add_option("--kv_cache_dtype", f->kv_cache_dtype,
                 "what builds of the result keep keys and values in: int8, fp8 (default: 16 bits)")
      ->check(CLI::IsMember({"int8", "fp8"}));
  app.add_option("--calib_dataset", f->calib_dataset,
                 "with fp8: a text over which the model runs first, for static scales of "
                 "activations (default: a scale per token, found as they come)")
      ->check(CLI::ExistingFile);
  app.add_option("--calib_size", f->calib_size, "windows of that text, at most")
      ->capture_default_str();
  app.add_option("--calib_max_seq_length", f->calib_max_seq_length, "tokens of a window")
      ->capture_default_str();
  app.add_option("--dtype", f->dtype,
                 "with --model_dir: of what stays plain: auto, float32, float16, bfloat16")
      ->capture_default_str();
  app.add_option("--tp_size", f->tp_size, "with --model_dir: tensor parallel ranks")
      ->capture_default_str();
  app.add_option("--pp_size", f->pp_size, "with --model_dir: pipeline stages")
      ->capture_default_str();
  app.add_option("--workers", f->workers, "threads; 0: one per core")->capture_default_str();
  app.add_option(
         "--eval_text", f->eval_text,
         "afterwards: perplexity and KL divergence on this text, against the model as it was")
      ->check(CLI::ExistingFile);
  app.add_option("--eval_ctx", f->eval_ctx, "tokens of a window of --eval_text")
      ->capture_default_str();
  app.add_option("--eval_windows", f->eval_windows, "only its first so many windows; 0: all");
  app.add_flag("--overwrite", f->overwrite, "replace an output directory that exists");
  return [f] {
    print_quant_report(quantize(*f));
    if (!f->eval_text.empty()) evaluate(*f);
    return 0;
  };
}

}  // namespace tokamak::cli

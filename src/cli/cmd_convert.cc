// tokamak convert: a published model → a checkpoint.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/command.h"
#include "cli/quant_options.h"
#include "convert/convert.h"

namespace tokamak::cli {

Run declare_convert(CLI::App& app) {
  struct Flags {
    ConvertOptions options;
    bool keep_quantized = true, use_weight_only = false, int8_kv_cache = false;
    bool fp8_kv_cache = false;
    std::string precision;
    QuantOptions quant;
  };
  auto flags = std::make_shared<Flags>();
  ConvertOptions& o = flags->options;
  app.add_option("--model_dir", o.model, "Hugging Face directory or .gguf file")->required();
  app.add_option("--output_dir", o.output_dir, "checkpoint directory to write")->required();
  app.add_option("--dtype", o.dtype, "of plain weights: auto, float32, float16, bfloat16")
      ->check(CLI::IsMember({"auto", "float32", "float16", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--tp_size", o.tp_size, "tensor parallel ranks")->capture_default_str();
  app.add_option("--pp_size", o.pp_size, "pipeline stages")->capture_default_str();
  app.add_option("--workers", o.workers, "threads; 0: one per core")->capture_default_str();
  CLI::Option* keep =
      app.add_option("--keep_quantized", flags->keep_quantized,
                     "true: GGUF's quantized tensors stay in their blocks (default with --dtype "
                     "auto); false: widen them");
  app.add_flag("--int8_kv_cache", flags->int8_kv_cache,
               "builds of this checkpoint keep keys and values in int8, with a scale per head and "
               "token");
  app.add_flag("--fp8_kv_cache", flags->fp8_kv_cache,
               "builds of this checkpoint keep keys and values in fp8");
  app.add_flag("--use_weight_only", flags->use_weight_only,
               "quantize the linear layers' weights on the way");
  app.add_option("--weight_only_precision", flags->precision,
                 "with --use_weight_only: int8 (default), int4, fp8")
      ->check(CLI::IsMember({"int8", "int4", "fp8"}));
  add_quant_options(app, flags->quant);
  app.add_flag("--overwrite", o.overwrite, "replace an output directory that exists");
  return [flags, keep] {
    ConvertOptions& options = flags->options;
    if (keep->count() > 0) options.keep_quantized = flags->keep_quantized;
    if (flags->int8_kv_cache && flags->fp8_kv_cache)
      fail("give --int8_kv_cache or --fp8_kv_cache, one of them");
    if (flags->int8_kv_cache) options.kv_cache_quant_algo = "INT8";
    if (flags->fp8_kv_cache) options.kv_cache_quant_algo = "FP8";
    if (!flags->use_weight_only && (!flags->precision.empty() || flags->quant.any()))
      fail("flags of quantization were given without --use_weight_only");
    if (flags->use_weight_only) {
      options.quant = flags->quant.recipe(flags->precision == "fp8"    ? "fp8"
                                          : flags->precision == "int4" ? "int4_wo"
                                                                       : "int8_wo");
      options.quant.keep_quantized = keep->count() > 0 && flags->keep_quantized;
    }
    const QuantReport report = convert(options);
    if (flags->use_weight_only) print_quant_report(report);
    return 0;
  };
}

}  // namespace tokamak::cli

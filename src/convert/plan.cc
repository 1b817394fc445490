#include "convert/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "convert/sharding.h"
#include "convert/source_check.h"

namespace tokamak {
namespace {

constexpr std::string_view kLayer = "transformer.layers.";

// "transformer.layers.7.mlp.fc.weight" → 7; -1 for tensors outside the layers.
int64_t layer_of(const std::string& name) {
  return name.starts_with(kLayer) ? std::stoll(name.substr(kLayer.size())) : -1;
}

// Layers are numbered from 0 in every pipeline stage.
std::string renumbered(const std::string& name, int64_t first) {
  const int64_t layer = layer_of(name);
  if (layer < 0 || first == 0) return name;
  const size_t dot = name.find('.', kLayer.size());
  return fmt::format("{}{}{}", kLayer, layer - first, name.substr(dot));
}

Pieces pieces_of(const CheckedRule& c) {
  const WeightRule& r = c.rule;
  std::vector<RowRange> ranges = r.ranges;
  if (ranges.empty()) ranges = {{0, r.rows}};
  Pieces out;
  for (const RowRange& range : ranges)
    out.push_back({c.source, range.begin, range.rows, 0, std::max<int64_t>(1, r.columns),
                   r.paired_head, r.add, c.scale});
  return out;
}

class Planner {
 public:
  Planner(const ModelSource& source, const ConvertOptions& options)
      : source_(source), options_(options), policy_(options.quant, source.config) {
    plan_.config = source.config;
    ModelConfig& c = plan_.config;
    if (options.dtype != "auto") c.dtype = parse_plain(options.dtype);
    keep_ = options.keep_quantized.value_or(options.dtype == "auto");
    check_sharding(c, options.tp_size, options.pp_size);
    c.mapping = {options.tp_size, options.pp_size};
    if (!options.kv_cache_quant_algo.empty())
      c.quantization.kv_cache_quant_algo = options.kv_cache_quant_algo;
  }

  ConvertPlan make() {
    rules_ = check_source(source_, plan_.warnings);
    for (int pp = 0; pp < options_.pp_size; ++pp)
      for (int tp = 0; tp < options_.tp_size; ++tp) plan_rank(pp, tp);
    if (options_.quant)
      finish_quantization();
    else if (any_fp8_)
      describe_fp8(plan_.config.quantization);
    else if (any_blocks_)
      plan_.config.quantization.quant_algo = "GGUF";
    if (const int64_t padded = padded_vocabulary(plan_.config, options_.tp_size);
        padded != plan_.config.vocab_size)
      plan_.config.extra["vocab_size_padded"] = std::to_string(padded);
    return std::move(plan_);
  }

 private:
  static DType parse_plain(const std::string& text) {
    for (DType t : {DType::f32, DType::f16, DType::bf16})
      if (text == info(t).long_name || text == name(t)) return t;
    fail("--dtype is '{}'; expected auto, float32, float16 or bfloat16", text);
  }

  // What a tensor becomes when no recipe concerns it.
  DType unquantized_dtype(const CheckedRule& c) const {
    if (c.rule.is_norm) return DType::f32;
    if (is_block_format(c.source->dtype) && keep_) return c.source->dtype;
    if (c.scale != nullptr && keep_ && c.rule.add == 0) return DType::f8_row;
    return plan_.config.dtype;
  }

  // parts: among how many ranks the columns are split.
  DType output_dtype(const CheckedRule& c, int parts) {
    return policy_.dtype_of(c.rule.target, c.rule.columns > 0, c.rule.columns / parts,
                            c.source->dtype, unquantized_dtype(c), parts);
  }

  // FP8 weights that stay as they are published.
  void describe_fp8(QuantizationConfig& out) const {
    out.quant_algo = "FP8";
    out.group_size = -1;
    for (const char* module : {"lm_head", "transformer.vocab_embedding"})
      out.exclude_modules.emplace_back(module);
  }

  void finish_quantization() {
    policy_.check_excluded();
    policy_.check_any();
    policy_.describe(plan_.config.quantization);
    if (!options_.activation_scales.empty())
      plan_.config.quantization.activation_scales = options_.activation_scales;
    QuantReport& r = plan_.report;
    r.format = policy_.formats();
    r.notices = policy_.notices();
    for (const auto& rank : plan_.ranks)
      for (const OutputTensor& t : rank) count_tensor(t, r);
  }

  static void count_tensor(const OutputTensor& t, QuantReport& r) {
    const bool same = std::all_of(t.pieces.begin(), t.pieces.end(),
                                  [&](const Piece& p) { return p.source->dtype == t.dtype; });
    if (!is_block_format(t.dtype) || same) {
      ++r.kept;
      r.kept_bytes += t.bytes();
      return;
    }
    ++r.quantized;
    for (const Piece& p : t.pieces) r.quantized_before += p.matrix_bytes();
    r.quantized_after += t.bytes();
  }

  bool in_stage(const std::string& name, int pp) const {
    const int64_t per_stage = plan_.config.num_hidden_layers / options_.pp_size;
    const bool last = pp == options_.pp_size - 1;
    if (const int64_t layer = layer_of(name); layer >= 0) return layer / per_stage == pp;
    if (name.starts_with("transformer.vocab_embedding"))
      return pp == 0 || (last && plan_.config.tie_word_embeddings);
    return last;
  }

  OutputTensor shard(const CheckedRule& c, int tp) {
    const WeightRule& r = c.rule;
    const int64_t columns = std::max<int64_t>(1, r.columns);
    const Share share = share_of(r, plan_.config, tp, options_.tp_size);
    const bool split = options_.tp_size > 1 && r.shard == Shard::columns;
    OutputTensor t{
        {r.target, output_dtype(c, split ? options_.tp_size : 1), r.rows, columns, r.columns == 0},
        pieces_of(c)};
    if (options_.tp_size > 1) {
      if (split) {
        if (t.dtype == c.source->dtype) check_block_border(c, t.dtype, share.count);
        t.pieces = take_columns(std::move(t.pieces), share.begin, share.count);
        t.columns = share.count;
      } else {
        t.pieces = take_rows(t.pieces, share.begin, share.count);
        t.rows = share.count + share.padding;
      }
    }
    return t;
  }

  // A column split of tensors in blocks must fall between blocks.
  void check_block_border(const CheckedRule& c, DType dtype, int64_t columns) const {
    const int block = row_step(dtype);
    if (columns % block == 0) return;
    std::string fits;
    for (int n = 1; n <= options_.tp_size * 2; ++n)
      if (c.rule.columns % n == 0 && c.rule.columns / n % block == 0)
        fits += (fits.empty() ? "" : ", ") + std::to_string(n);
    fail(
        "--tp_size is {}: tensor '{}' has rows of {} elements in {} blocks of {}, which that would "
        "cut; these would do for it: {}; or widen the weights with --keep_quantized false",
        options_.tp_size, c.rule.source, c.rule.columns, name(dtype), block, fits);
  }

  void note_scale(const CheckedRule& c) {
    double& scale = plan_.config.quantization.activation_scales[scaled_module(c.rule.target)];
    scale = std::max(scale, c.input_scale);
  }

  void plan_rank(int pp, int tp) {
    std::vector<OutputTensor>& out = plan_.ranks.emplace_back();
    const int64_t first = plan_.config.num_hidden_layers / options_.pp_size * pp;
    std::vector<OutputTensor> qkv;  // of the attention layer being gathered
    for (const CheckedRule& c : rules_) {
      if (!in_stage(c.rule.target, pp)) continue;
      OutputTensor t = shard(c, tp);
      t.name = renumbered(t.name, first);
      any_blocks_ |= is_block_format(t.dtype);
      any_fp8_ |= t.dtype == DType::f8_row;
      if (t.dtype == DType::f8_row && c.input_scale > 0) note_scale(c);
      const bool part = c.rule.shard == Shard::q_heads || c.rule.shard == Shard::kv_heads;
      if (!part && !qkv.empty()) join_qkv(std::exchange(qkv, {}), out);
      (part ? qkv : out).push_back(std::move(t));
    }
    if (!qkv.empty()) join_qkv(std::move(qkv), out);
  }

  // q, k and v (weights, and biases when there are) become one tensor each where formats are equal.
  static void join_qkv(std::vector<OutputTensor> parts, std::vector<OutputTensor>& out) {
    const size_t step = parts.size() / 3;  // weight [and bias] of each
    const bool equal = std::all_of(parts.begin(), parts.end(), [&](const OutputTensor& t) {
      return t.vector || t.dtype == parts[0].dtype;
    });
    if (!equal) {
      for (OutputTensor& t : parts) out.push_back(std::move(t));
      return;
    }
    for (size_t kind = 0; kind < step; ++kind) {
      OutputTensor joined = parts[kind];
      joined.name.replace(joined.name.find(".attention.q."), 13, ".attention.qkv.");
      for (size_t i = kind + step; i < parts.size(); i += step) {
        joined.rows += parts[i].rows;
        joined.pieces.insert(joined.pieces.end(), parts[i].pieces.begin(), parts[i].pieces.end());
      }
      out.push_back(std::move(joined));
    }
  }

  const ModelSource& source_;
  const ConvertOptions& options_;
  QuantPolicy policy_;
  ConvertPlan plan_;
  std::vector<CheckedRule> rules_;
  bool keep_ = true, any_blocks_ = false, any_fp8_ = false;
};

}  // namespace

size_t ConvertPlan::bytes() const {
  size_t total = 0;
  for (const auto& rank : ranks)
    for (const OutputTensor& t : rank) total += t.bytes();
  return total;
}

ConvertPlan make_plan(const ModelSource& source, const ConvertOptions& options) {
  return Planner(source, options).make();
}

}  // namespace tokamak

#include "models/decoder.h"

#include <cmath>

#include "nn/attention.h"
#include "nn/embedding.h"
#include "nn/layer_norm.h"
#include "nn/mlp.h"
#include "nn/rms_norm.h"

namespace tokamak {
namespace {

using nn::Builder;
using nn::Tensor;

RopeScaling rope_scaling(const RopeScalingConfig& c) {
  return {.kind = c.kind,
          .factor = c.factor,
          .original_max_position = c.original_max_position,
          .low_freq_factor = c.low_freq_factor,
          .high_freq_factor = c.high_freq_factor,
          .beta_fast = c.beta_fast,
          .beta_slow = c.beta_slow,
          .attention_factor = c.attention_factor,
          .mscale = c.mscale,
          .mscale_all_dim = c.mscale_all_dim,
          .truncate = c.truncate,
          .short_factor = c.short_factor,
          .long_factor = c.long_factor};
}

RopeAttrs rope_attrs(const ModelConfig& c, int64_t layer) {
  RopeAttrs r;
  r.head_dim = c.head_size;
  r.rotary_dim = static_cast<int64_t>(static_cast<double>(c.head_size) * c.rotary_pct);
  r.neox = c.position_embedding_type != "rope_gptj";
  r.max_position = c.max_position_embeddings;
  const bool local = c.rotary_local_base > 0 && c.window(layer) > 0;
  r.theta = local ? c.rotary_local_base : c.rotary_base;
  if (!local) r.scaling = rope_scaling(c.rotary_scaling);
  return r;
}

nn::AttentionOptions attention_options(const ModelConfig& c, int64_t layer) {
  nn::AttentionOptions o{c.hidden_size, c.qkv_bias, c.dense_bias, {}};
  o.op.layer = layer;
  o.op.heads = c.num_attention_heads;
  o.op.kv_heads = c.num_key_value_heads;
  o.op.head_dim = c.head_size;
  o.op.scale =
      c.attention_scale > 0 ? c.attention_scale : 1 / std::sqrt(static_cast<double>(c.head_size));
  o.op.softcap = c.attention_softcap;
  o.op.window = c.window(layer);
  o.op.qk_norm = c.qk_norm;
  o.op.qk_norm_eps = c.norm_epsilon;
  o.op.has_rope = c.position_embedding_type.starts_with("rope") && c.ropes(layer);
  o.op.alibi = c.position_embedding_type == "alibi";
  if (o.op.has_rope) o.op.rope = rope_attrs(c, layer);
  return o;
}

class Decoder {
 public:
  // The residual stream sums up what all layers add: bfloat16's eight bits are too few for it.
  Decoder(Builder& b, const ModelConfig& c, const PluginLibraries& plugins, DType activation)
      : b_(b),
        c_(c),
        plugins_(plugins),
        activation_(activation),
        stream_(activation == DType::bf16 ? DType::f32 : activation) {}

  struct Rows {
    Tensor hidden, logits;  // of the rows that are wanted
  };
  Rows operator()(Tensor token_ids, Tensor positions) const {
    const nn::Embedding embedding(b_, "transformer.vocab_embedding", c_.vocab_size, c_.hidden_size,
                                  c_.embedding_scale, stream_);
    Tensor x = embedding(token_ids);
    if (c_.embedding_norm) x = norm("transformer.ln_embed", x);
    for (int64_t i = 0; i < c_.num_hidden_layers; ++i) x = layer(i, x, positions);
    const Tensor hidden = gather_rows(cast(norm("transformer.ln_f", x), activation_));
    return {hidden, logits(hidden, embedding.table())};
  }

 private:
  Tensor norm(const std::string& name, Tensor x) const {
    if (c_.norm_type == "layer_norm")
      return nn::LayerNorm(b_, name, c_.hidden_size, c_.norm_epsilon)(x);
    return nn::RmsNorm(b_, name, c_.hidden_size, c_.norm_epsilon)(x);
  }

  // "silu", or "plugin:NAME": an op of two operands.
  nn::Gate gate() const {
    constexpr std::string_view kPlugin = "plugin:";
    if (!c_.hidden_act.starts_with(kPlugin))
      return nn::activation_gate(parse_activation(c_.hidden_act));
    const auto [library, op] = find_plugin_op(plugins_, c_.hidden_act.substr(kPlugin.size()));
    return [library = library, op = op](Tensor a, Tensor b) {
      return a.builder->node(Op::plugin, plugin_attrs(library, *op, {}, {a.type(), b.type()}),
                             {a, b}, op->name);
    };
  }

  Tensor mlp(const std::string& name, Tensor x) const {
    const int64_t hidden = c_.hidden_size, wide = c_.intermediate_size;
    if (c_.gated_mlp) return nn::GatedMlp(b_, name, hidden, wide, gate(), c_.mlp_bias)(x);
    return nn::Mlp(b_, name, hidden, wide, parse_activation(c_.hidden_act), c_.mlp_bias)(x);
  }

  Tensor layer(int64_t i, Tensor x, Tensor positions) const {
    const std::string name = fmt::format("transformer.layers.{}", i);
    const Builder::Scope scope(b_, name);
    const nn::Attention attention(b_, name + ".attention", attention_options(c_, i));

    Tensor h = attention(cast(norm(name + ".input_layernorm", x), activation_), positions);
    if (c_.sandwich_norms) h = norm(name + ".post_attention_layernorm", h);
    x = x + cast(scaled(h, c_.residual_scale), stream_);

    h = mlp(name + ".mlp", cast(norm(name + ".post_layernorm", x), activation_));
    if (c_.sandwich_norms) h = norm(name + ".post_feedforward_layernorm", h);
    return x + cast(scaled(h, c_.residual_scale), stream_);
  }

  Tensor logits(Tensor x, Tensor table) const {
    const nn::Linear head = c_.tie_word_embeddings ? nn::Linear("lm_head", table)
                                                   : nn::Linear(b_, "lm_head", c_.hidden_size,
                                                                c_.vocab_size, /*bias=*/false);
    const Builder::Scope scope(b_, "lm_head");
    Tensor y = scaled(cast(head(x), DType::f32), c_.logits_scale);
    return c_.final_softcap > 0 ? softcap(y, c_.final_softcap) : y;
  }

  static Tensor scaled(Tensor x, double scale) { return scale == 1 ? x : x * scale; }

  Builder& b_;
  const ModelConfig& c_;
  const PluginLibraries& plugins_;
  const DType activation_, stream_;
};

}  // namespace

Graph build_decoder(const ModelConfig& config, const nn::WeightLookup& weights, DType activation,
                    const PluginLibraries& plugins) {
  if (config.mapping.world_size() != 1)
    fail(
        "the checkpoint is split for tp_size {} and pp_size {}; this version builds engines from "
        "checkpoints with tp_size 1 and pp_size 1",
        config.mapping.tp_size, config.mapping.pp_size);
  Graph graph;
  Builder builder(graph, weights);
  const ValueType per_token{DType::i32, {Symbol::tokens}};
  const Tensor token_ids = builder.input("token_ids", per_token);
  const Tensor positions = builder.input("positions", per_token);
  const auto [hidden, logits] = Decoder(builder, config, plugins, activation)(token_ids, positions);
  graph.mark_output(logits.id, "logits");
  graph.mark_output(hidden.id, "hidden");
  return graph;
}

}  // namespace tokamak

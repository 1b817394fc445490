#include "models/weight_rules.h"

#include <fmt/format.h>

#include "base/error.h"

namespace tokamak {
namespace {

class Rules {
 public:
  Rules(const WeightNames& names, const ModelConfig& config, std::string prefix)
      : n_(names), c_(config), prefix_(std::move(prefix)) {}

  void norm(const std::string& target, const std::string& source, int64_t size) {
    WeightRule r{target + ".weight", prefix_ + source + ".weight", size, 0, size};
    r.add = n_.norm_add;
    r.is_norm = true;
    out_.push_back(r);
    if (!c_.norm_bias) return;
    r.target = target + ".bias";
    r.source = prefix_ + source + ".bias";
    r.add = 0;
    out_.push_back(std::move(r));
  }

  // The weight and, when the model has it, the bias of rows of one linear layer.
  void linear(const std::string& target, const std::string& source, int64_t out, int64_t in,
              bool bias, Shard shard, int64_t source_rows = 0, std::vector<RowRange> ranges = {},
              int64_t paired = 0) {
    WeightRule r{target + ".weight", prefix_ + source + ".weight", out, in};
    r.source_rows = source_rows ? source_rows : out;
    r.ranges = std::move(ranges);
    r.paired_head = paired;
    r.shard = shard;
    out_.push_back(r);
    if (!bias) return;
    r.target = target + ".bias";
    r.source = prefix_ + source + ".bias";
    r.columns = 0;
    if (shard == Shard::columns) r.shard = Shard::copy;  // added once, after the ranks' sum
    out_.push_back(std::move(r));
  }

  void attention(const std::string& target, const std::string& layer);
  void mlp(const std::string& target, const std::string& layer);
  void layer(int64_t i);
  std::vector<WeightRule> take() { return std::move(out_); }

 private:
  std::vector<RowRange> fused_ranges(int which) const;
  const WeightNames& n_;
  const ModelConfig& c_;
  std::string prefix_;
  std::vector<WeightRule> out_;
};

// Rows of q (0), k (1) or v (2) in a fused tensor.
std::vector<RowRange> Rules::fused_ranges(int which) const {
  const int64_t head = c_.head_size, heads = c_.num_attention_heads, kv = c_.num_key_value_heads;
  if (n_.fused_qkv == FusedQkv::by_kind) {
    const int64_t begin = which == 0 ? 0 : (heads + (which - 1) * kv) * head;
    return {{begin, (which == 0 ? heads : kv) * head}};
  }
  const int64_t group = heads / kv;
  std::vector<RowRange> out;
  for (int64_t g = 0; g < kv; ++g) {
    const int64_t begin = g * (group + 2) * head;
    if (which == 0)
      out.push_back({begin, group * head});
    else
      out.push_back({begin + (group + which - 1) * head, head});
  }
  return out;
}

void Rules::attention(const std::string& target, const std::string& layer) {
  const int64_t head = c_.head_size, in = c_.hidden_size;
  const int64_t q = c_.num_attention_heads * head, kv = c_.num_key_value_heads * head;
  const std::string* names[] = {&n_.q, &n_.k, &n_.v};
  const char* parts[] = {".q", ".k", ".v"};
  for (int i = 0; i < 3; ++i) {
    const int64_t out = i == 0 ? q : kv, paired = n_.paired_qk && i < 2 ? head : 0;
    const Shard shard = i == 0 ? Shard::q_heads : Shard::kv_heads;
    if (n_.fused_qkv == FusedQkv::none)
      linear(target + parts[i], layer + *names[i], out, in, c_.qkv_bias, shard, 0, {}, paired);
    else
      linear(target + parts[i], layer + n_.qkv, out, in, c_.qkv_bias, shard, q + 2 * kv,
             fused_ranges(i), paired);
  }
  if (c_.qk_norm) {
    norm(target + ".q_layernorm", layer + n_.q_norm, head);
    norm(target + ".k_layernorm", layer + n_.k_norm, head);
  }
  linear(target + ".dense", layer + n_.dense, in, q, c_.dense_bias, Shard::columns);
}

void Rules::mlp(const std::string& target, const std::string& layer) {
  const int64_t in = c_.hidden_size, wide = c_.intermediate_size;
  if (!c_.gated_mlp) {
    linear(target + ".fc", layer + n_.gate, wide, in, c_.mlp_bias, Shard::rows);
  } else if (n_.gate_up.empty()) {
    linear(target + ".fc", layer + n_.gate, wide, in, c_.mlp_bias, Shard::rows);
    linear(target + ".gate", layer + n_.up, wide, in, c_.mlp_bias, Shard::rows);
  } else {
    const std::string source = layer + n_.gate_up;
    linear(target + ".fc", source, wide, in, c_.mlp_bias, Shard::rows, 2 * wide, {{0, wide}});
    linear(target + ".gate", source, wide, in, c_.mlp_bias, Shard::rows, 2 * wide, {{wide, wide}});
  }
  linear(target + ".proj", layer + n_.down, in, wide, c_.mlp_bias, Shard::columns);
}

void Rules::layer(int64_t i) {
  const std::string target = fmt::format("transformer.layers.{}.", i);
  const std::string source = fmt::format(fmt::runtime(n_.layer), i);
  norm(target + "input_layernorm", source + n_.input_norm, c_.hidden_size);
  attention(target + "attention", source);
  if (c_.sandwich_norms)
    norm(target + "post_attention_layernorm", source + n_.after_attention_norm, c_.hidden_size);
  norm(target + "post_layernorm", source + n_.mlp_norm, c_.hidden_size);
  mlp(target + "mlp", source);
  if (c_.sandwich_norms)
    norm(target + "post_feedforward_layernorm", source + n_.after_mlp_norm, c_.hidden_size);
}

}  // namespace

WeightNames gguf_names() {
  WeightNames n;
  n.prefixes = {""};
  n.layer = "blk.{}.";
  n.embedding = "token_embd";
  n.final_norm = "output_norm";
  n.heads = {"output"};
  n.q = "attn_q";
  n.k = "attn_k";
  n.v = "attn_v";
  n.dense = "attn_output";
  n.q_norm = "attn_q_norm";
  n.k_norm = "attn_k_norm";
  n.input_norm = "attn_norm";
  n.mlp_norm = "ffn_norm";
  n.after_attention_norm = "post_attention_norm";
  n.after_mlp_norm = "post_ffw_norm";
  n.gate = "ffn_gate";
  n.up = "ffn_up";
  n.down = "ffn_down";
  n.ignored = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight",
               "attn_rot_embd"};
  return n;
}

std::vector<WeightRule> weight_rules(const WeightNames& names, const ModelConfig& config,
                                     const std::string& prefix, const std::string& head) {
  Rules rules(names, config, prefix);
  rules.linear("transformer.vocab_embedding", names.embedding, config.vocab_size,
               config.hidden_size, false, Shard::vocabulary);
  if (config.embedding_norm)
    rules.norm("transformer.ln_embed", names.embedding_norm, config.hidden_size);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) rules.layer(i);
  rules.norm("transformer.ln_f", names.final_norm, config.hidden_size);
  std::vector<WeightRule> out = rules.take();
  if (!config.tie_word_embeddings) {
    Rules last(names, config, "");
    last.linear("lm_head", head, config.vocab_size, config.hidden_size, false, Shard::vocabulary);
    out.push_back(last.take().front());
  }
  return out;
}

}  // namespace tokamak

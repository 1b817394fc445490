// Where each checkpoint tensor comes from: a rule takes rows of one source tensor. Attention's q, k
// and v are apart here; convert joins them. The names of a family are plain data.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "formats/model_config.h"

namespace tokamak {

// How tensor parallelism splits a tensor over ranks.
enum class Shard : uint8_t { copy, rows, columns, q_heads, kv_heads, vocabulary };

struct RowRange {
  int64_t begin = 0, rows = 0;
};

struct WeightRule {
  std::string target;   // "transformer.layers.3.attention.q.weight"
  std::string source;   // "model.layers.3.self_attn.q_proj.weight"
  int64_t rows = 0;     // of the target; for vectors the number of elements
  int64_t columns = 0;  // 0: a vector
  int64_t source_rows = 0;
  std::vector<RowRange> ranges;  // the rows of the source in the target's order; empty: all
  int64_t paired_head = 0;  // > 0: rows of a head of this size alternate between its two halves
                            // (llama.cpp's order for GPT-J style rope); undone
  float add = 0;            // Gemma's norms: + 1
  bool is_norm = false;     // kept in float32
  Shard shard = Shard::copy;
};

// How q, k and v lie in one tensor.
enum class FusedQkv : uint8_t {
  none,
  by_kind,   // all q heads, all k heads, all v heads (Phi-3)
  by_group,  // per kv head: its q heads, its k, its v (InternLM2)
};

// Names with {} for the layer, relative to `prefix`; the model's own prefix is the first of
// `prefixes` under which the embedding exists.
struct WeightNames {
  std::vector<std::string> prefixes = {"model.", "language_model.model.", "model.language_model.",
                                       ""};
  std::string layer = "layers.{}.";
  std::string embedding = "embed_tokens", final_norm = "norm";
  std::string embedding_norm;                                              // after the embedding
  std::vector<std::string> heads = {"lm_head", "language_model.lm_head"};  // with no prefix
  std::string q = "self_attn.q_proj", k = "self_attn.k_proj", v = "self_attn.v_proj";
  std::string qkv;  // with fused_qkv
  FusedQkv fused_qkv = FusedQkv::none;
  std::string dense = "self_attn.o_proj";
  std::string q_norm = "self_attn.q_norm", k_norm = "self_attn.k_norm";
  std::string input_norm = "input_layernorm";
  std::string mlp_norm = "post_attention_layernorm";  // before the MLP
  std::string after_attention_norm, after_mlp_norm;   // sandwich norms
  // A plain MLP has gate and down.
  std::string gate = "mlp.gate_proj", up = "mlp.up_proj", down = "mlp.down_proj";
  std::string gate_up;     // gate rows, then up rows, in one tensor
  float norm_add = 0;      // what the model adds to its norm weights
  bool paired_qk = false;  // GGUF: q and k rows in llama.cpp's GPT-J order
  // Source tensors that are no weights of the text model: a name that contains one of these.
  std::vector<std::string> ignored = {"rotary_emb.inv_freq", "vision_tower.",
                                      "multi_modal_projector.", "vision_model."};
};

// llama.cpp's names, the same for all its families.
WeightNames gguf_names();

// Every tensor of the model, in the order of the layers. head: the source of an untied lm_head.
std::vector<WeightRule> weight_rules(const WeightNames& names, const ModelConfig& config,
                                     const std::string& prefix, const std::string& head);

}  // namespace tokamak

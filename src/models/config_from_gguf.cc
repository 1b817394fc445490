#include <cmath>
#include <cstring>

#include "models/family.h"

namespace tokamak {
namespace {

bool layer_tensor(const GgufFile& file, const std::string& name) {
  return file.find_tensor("blk.0." + name) != nullptr;
}

// Plain weights keep their type; a model in blocks has float32 for what is not in blocks.
DType plain_dtype(const GgufFile& file) {
  const TensorView* down = file.find_tensor("blk.0.ffn_down.weight");
  return down && (down->dtype == DType::f16 || down->dtype == DType::bf16) ? down->dtype
                                                                           : DType::f32;
}

void read_scaling(const GgufModel& m, ModelConfig& c) {
  RopeScalingConfig& r = c.rotary_scaling;
  r.kind = m.string_or("rope.scaling.type", "none");
  if (r.kind != "none") r.factor = m.float_or("rope.scaling.factor", 1);
  // Old files give the linear factor alone.
  if (r.kind == "none" && m.file().has(m.key("rope.scale_linear"))) {
    r.kind = "linear";
    r.factor = m.get_float("rope.scale_linear");
  }
  r.original_max_position =
      m.int_or("rope.scaling.original_context_length", c.max_position_embeddings);
  r.attention_factor = m.float_or("rope.scaling.attn_factor", 0);
  if (r.kind == "yarn") {
    r.beta_fast = m.float_or("rope.scaling.yarn_beta_fast", 32);
    r.beta_slow = m.float_or("rope.scaling.yarn_beta_slow", 1);
    if (r.factor <= 1)
      r.factor = static_cast<double>(c.max_position_embeddings) /
                 static_cast<double>(std::max<int64_t>(r.original_max_position, 1));
    if (r.attention_factor > 0 && r.factor > 1)  // the file's factor comes on top of yarn's own
      r.attention_factor *= 0.1 * std::log(r.factor) + 1;
  }
}

// Frequency divisors kept as tensors: llama3's scaling as one list, longrope's as two.
void read_factors(const GgufModel& m, ModelConfig& c) {
  RopeScalingConfig& r = c.rotary_scaling;
  const std::vector<double> all = m.vector("rope_freqs.weight");
  const std::vector<double> near = m.vector("rope_factors_short.weight");
  const std::vector<double> far = m.vector("rope_factors_long.weight");
  if (!all.empty()) {
    r = {.kind = "longrope",
         .original_max_position = c.max_position_embeddings,
         .attention_factor = 1,
         .short_factor = all,
         .long_factor = all};
  } else if (!near.empty() || !far.empty()) {
    r.kind = "longrope";
    r.short_factor = near.empty() ? far : near;
    r.long_factor = far.empty() ? near : far;
    r.factor = static_cast<double>(c.max_position_embeddings) /
               static_cast<double>(std::max<int64_t>(r.original_max_position, 1));
  } else if (r.kind == "longrope") {
    fail("'{}': rope.scaling.type is longrope, but there are no rope_factors tensors",
         m.file().path().string());
  }
}

ModelConfig read_common(const GgufModel& m) {
  const GgufFile& file = m.file();
  ModelConfig c;
  const TensorView* embedding = file.find_tensor("token_embd.weight");
  if (!embedding || embedding->shape.rank() != 2)
    fail("'{}' has no tensor 'token_embd.weight' of 2 dimensions (a vocabulary without a model?)",
         file.path().string());
  if (m.int_or("expert_count", 0) > 0)
    fail("'{}': a mixture of experts ({} experts), which is not supported yet",
         file.path().string(), m.get_int("expert_count"));
  c.dtype = plain_dtype(file);
  c.vocab_size = embedding->shape[0];
  c.hidden_size = m.get_int("embedding_length");
  c.num_hidden_layers = m.get_int("block_count");
  c.num_attention_heads = m.get_int("attention.head_count");
  if (c.num_attention_heads < 1 || c.num_hidden_layers < 1 || c.num_hidden_layers > kMaxLayers)
    fail("'{}': {} is {} and {} is {}, expected 1 to {} each", file.path().string(),
         m.key("attention.head_count"), c.num_attention_heads, m.key("block_count"),
         c.num_hidden_layers, kMaxLayers);
  c.num_key_value_heads = m.int_or("attention.head_count_kv", c.num_attention_heads);
  c.head_size = m.int_or("attention.key_length", c.hidden_size / c.num_attention_heads);
  if (const int64_t v = m.int_or("attention.value_length", c.head_size); v != c.head_size)
    fail("'{}': {} is {}, expected the key length {}", file.path().string(),
         m.key("attention.value_length"), v, c.head_size);
  c.intermediate_size = m.get_int("feed_forward_length");
  c.max_position_embeddings = m.get_int("context_length");
  c.norm_epsilon = m.get_float("attention.layer_norm_rms_epsilon");
  c.rotary_base = m.float_or("rope.freq_base", 10000);
  c.sliding_window = m.int_or("attention.sliding_window", 0);
  if (const int64_t n = m.int_or("rope.dimension_count", c.head_size); c.head_size > 0)
    c.rotary_pct = static_cast<double>(n) / static_cast<double>(c.head_size);
  c.tie_word_embeddings = file.find_tensor("output.weight") == nullptr;
  c.qkv_bias = layer_tensor(file, "attn_q.bias") || layer_tensor(file, "attn_qkv.bias");
  c.dense_bias = layer_tensor(file, "attn_output.bias");
  c.mlp_bias = layer_tensor(file, "ffn_down.bias");
  c.qk_norm = layer_tensor(file, "attn_q_norm.weight");
  read_scaling(m, c);
  read_factors(m, c);
  return c;
}

}  // namespace

GgufModel::GgufModel(const GgufFile& file)
    : file_(file), arch_(file.get_string("general.architecture")) {}

int64_t GgufModel::int_or(const std::string& field, int64_t other) const {
  return file_.find_int(key(field)).value_or(other);
}
double GgufModel::float_or(const std::string& field, double other) const {
  return file_.find_float(key(field)).value_or(other);
}
std::string GgufModel::string_or(const std::string& field, const std::string& other) const {
  return file_.find_string(key(field)).value_or(other);
}

std::vector<double> GgufModel::vector(const std::string& tensor) const {
  const TensorView* t = file_.find_tensor(tensor);
  if (!t) return {};
  if (t->dtype != DType::f32 || t->shape.rank() != 1 || t->shape[0] > (1 << 16))
    fail("'{}': tensor '{}' is {} {}, expected a float32 vector", file_.path().string(), tensor,
         name(t->dtype), t->shape.str());
  std::vector<double> out;
  for (int64_t i = 0; i < t->shape[0]; ++i) {
    float value;
    std::memcpy(&value, t->data + i * sizeof(float), sizeof(float));
    if (!std::isfinite(value) || value <= 0)
      fail("'{}': tensor '{}' holds {}, expected positive factors", file_.path().string(), tensor,
           value);
    out.push_back(value);
  }
  return out;
}

ModelConfig model_config_from_gguf(const GgufFile& file, const Family& family) {
  const GgufModel model(file);
  ModelConfig c = read_common(model);
  c.architecture = family.architectures.front();
  c.model_type = family.key;
  if (family.from_gguf) family.from_gguf(model, c);
  c.validate(file.path().string());
  return c;
}

}  // namespace tokamak

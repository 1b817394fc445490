// Gemma 3 (text): Gemma 2's norms, RMS norm on q and k instead of soft caps, five windowed layers
// to one full one, and two rope bases: the windowed layers have their own, without scaling.
#include <cmath>

#include "models/family.h"

namespace tokamak {
namespace {

void shared(ModelConfig& c) {
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  c.sandwich_norms = true;
  c.qk_norm = true;
}

void windows_by_pattern(int64_t pattern, const std::string& source, ModelConfig& c) {
  if (pattern < 1) fail("'{}': sliding_window_pattern is {}", source, pattern);
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    c.layer_windows.push_back((i + 1) % pattern != 0 ? c.sliding_window : 0);
}

void read_rope(const JsonFields& fields, ModelConfig& c) {
  c.rotary_base = fields.find_float("rope_theta").value_or(1e6);
  c.rotary_local_base = fields.find_float("rope_local_base_freq").value_or(1e4);
  const auto parameters = fields.object("rope_parameters");
  if (!parameters) return;  // the old style's rope_scaling is read already
  if (const auto full = parameters->object("full_attention"))
    read_rope_parameters(*full, fields, c);
  if (const auto local = parameters->object("sliding_attention")) {
    const std::string type = local->find_string("rope_type").value_or("default");
    if (type != "default")
      fail("'{}': rope scaling '{}' on windowed layers is not supported", fields.source(), type);
    c.rotary_local_base = local->find_float("rope_theta").value_or(c.rotary_local_base);
  }
}

void from_hf(const JsonFields& fields, ModelConfig& c) {
  shared(c);
  if (fields.find_bool("use_bidirectional_attention").value_or(false))
    fail("'{}': use_bidirectional_attention makes an encoder of it, which is not supported",
         fields.source());
  c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
  c.attention_scale = 1 / std::sqrt(fields.get_float("query_pre_attn_scalar"));
  c.attention_softcap = fields.find_float("attn_logit_softcapping").value_or(0);
  c.final_softcap = fields.find_float("final_logit_softcapping").value_or(0);
  read_rope(fields, c);
  if (fields.has("layer_types"))
    c.layer_windows = windows_of_layer_types(fields, c);
  else
    windows_by_pattern(fields.find_int("sliding_window_pattern").value_or(6), fields.source(), c);
  c.sliding_window = 0;
}

void from_gguf(const GgufModel& m, ModelConfig& c) {
  shared(c);
  c.hidden_act = "gelu_tanh";
  c.rotary_base = m.float_or("rope.freq_base", 1e6);
  c.rotary_local_base = m.float_or("rope.freq_base_swa", 1e4);
  c.final_softcap = m.float_or("final_logit_softcapping", 0);
  const std::string pattern = m.key("attention.sliding_window_pattern");
  if (m.file().is_array(pattern)) {
    for (int64_t windowed : m.file().get_ints(pattern))
      c.layer_windows.push_back(windowed ? c.sliding_window : 0);
  } else {
    windows_by_pattern(m.int_or("attention.sliding_window_pattern", 6), m.file().path().string(),
                       c);
  }
  // The scale is not in the file; the 27B model alone has another than its head size's.
  if (c.num_hidden_layers == 62 && c.hidden_size == 5376)
    c.attention_scale = 1 / std::sqrt(static_cast<double>(c.hidden_size / c.num_attention_heads));
  c.sliding_window = 0;
}

}  // namespace

Family gemma3_family() {
  Family f{.key = "gemma3",
           .architectures = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
           .gguf_architectures = {"gemma3"},
           .hf_defaults = R"({"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
             "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
             "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
             "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
             "query_pre_attn_scalar": 256, "sliding_window": 4096})",
           .gguf_names = gguf_names(),
           .from_hf = from_hf,
           .from_gguf = from_gguf};
  use_sandwich_norm_names(f.hf_names);
  return f;
}

}  // namespace tokamak

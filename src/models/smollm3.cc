// SmolLM3: LLaMA with layers that have no rotary embedding (every fourth, unless listed).
#include "models/family.h"

namespace tokamak {
namespace {

void every_nth_without_rope(int64_t interval, const std::string& source, ModelConfig& c) {
  if (interval < 1) fail("'{}': no_rope_layer_interval is {}", source, interval);
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    c.no_rope_layers.push_back((i + 1) % interval == 0);
}

void from_hf(const JsonFields& fields, ModelConfig& c) {
  c.qkv_bias = c.dense_bias = fields.find_bool("attention_bias").value_or(false);
  c.mlp_bias = fields.find_bool("mlp_bias").value_or(false);
  // In the config's list 1 means that the layer turns.
  for (int64_t turns : fields.ints("no_rope_layers")) c.no_rope_layers.push_back(turns == 0);
  if (c.no_rope_layers.empty())
    every_nth_without_rope(fields.find_int("no_rope_layer_interval").value_or(4), fields.source(),
                           c);
  if (fields.has("layer_types")) {
    c.layer_windows = windows_of_layer_types(fields, c);
  } else if (fields.find_bool("use_sliding_window").value_or(false)) {
    for (bool still : c.no_rope_layers) c.layer_windows.push_back(still ? c.sliding_window : 0);
  }
  c.sliding_window = 0;
}

}  // namespace

Family smollm3_family() {
  Family f{.key = "smollm3",
           .architectures = {"SmolLM3ForCausalLM"},
           .gguf_architectures = {"smollm3"},
           .hf_defaults = R"({"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 11008,
             "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4,
             "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
             "tie_word_embeddings": true, "rope_theta": 2000000.0})",
           .gguf_names = gguf_names(),
           .from_hf = from_hf};
  f.gguf_names.paired_qk = true;
  f.from_gguf = [](const GgufModel& m, ModelConfig& c) {
    every_nth_without_rope(4, m.file().path().string(), c);  // not in the file: the class's own
  };
  return f;
}

}  // namespace tokamak

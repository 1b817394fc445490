#include "formats/hf_config.h"

#include <array>

namespace tokamak {
namespace {

namespace fs = std::filesystem;

void refuse_quantized(const JsonFields& root) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    const auto q = root.object(key);
    if (!q) continue;
    const std::string method = q->find_string("quant_method").value_or("unknown");
    const std::string format = q->find_string("format").value_or("");
    if (method == "fp8" || (method == "compressed-tensors" && format == "float-quantized"))
      continue;  // the tensors say the rest
    if (method == "modelopt" && q->find_string("quant_algo").value_or("") == "FP8") continue;
    fail(
        "'{}': the weights are quantized (quant_method '{}'{}), which convert does not read; "
        "supported are float32, float16 and bfloat16 weights, FP8 weights (quant_method fp8, "
        "modelopt with quant_algo FP8, or compressed-tensors in format float-quantized) and GGUF "
        "files",
        root.source(), method, format.empty() ? "" : ", format '" + format + "'");
  }
}

std::optional<DType> float_dtype(const JsonFields& f) {
  for (const char* key : {"dtype", "torch_dtype"}) {
    std::string text = f.find_string(key).value_or("");
    if (text.starts_with("torch.")) text = text.substr(6);
    if (text.empty() || text == "auto") continue;
    for (DType t : {DType::f32, DType::f16, DType::bf16})
      if (text == info(t).long_name) return t;
  }
  return {};
}

std::string rope_type(const JsonFields& d) {
  std::string type = d.find_string("rope_type").value_or(d.find_string("type").value_or("default"));
  if (type == "su") type = "longrope";
  if (type == "default") type = "none";
  constexpr std::array known = {"none", "linear", "dynamic", "llama3", "yarn", "longrope"};
  for (const char* k : known)
    if (type == k) return type;
  fail(
      "'{}': rope scaling type '{}' is not supported; known: default, linear, dynamic, llama3, "
      "yarn, "
      "longrope",
      d.source(), type);
}

double ratio(const ModelConfig& c, int64_t original) {
  return original > 0
             ? static_cast<double>(c.max_position_embeddings) / static_cast<double>(original)
             : 1.0;
}

}  // namespace

HfConfig load_hf_config(const fs::path& directory) {
  const fs::path path = fs::is_regular_file(directory) ? directory : directory / "config.json";
  if (!fs::exists(path)) fail("'{}' has no config.json", directory.string());
  HfConfig out;
  out.source = path.string();
  Json root = load_json(path);
  const JsonFields f(root, out.source);
  refuse_quantized(f);
  const auto architectures = f.strings("architectures");
  if (architectures.empty()) f.wrong("architectures", "a list with the model's class name");
  out.architecture = architectures.front();
  out.dtype = float_dtype(f);
  if (const auto text = f.object("text_config")) {
    refuse_quantized(*text);
    if (!out.dtype) out.dtype = float_dtype(*text);
    out.text = text->json();
    if (!out.text.contains("tie_word_embeddings") && f.has("tie_word_embeddings"))
      out.text["tie_word_embeddings"] = *f.find("tie_word_embeddings");
  } else {
    out.text = std::move(root);
  }
  return out;
}

void apply_defaults(HfConfig& config, const char* defaults_json) {
  Json merged = parse_json(defaults_json, "class defaults");
  merged.update(config.text);
  config.text = std::move(merged);
}

std::string canonical_activation(const std::string& name, const std::string& source) {
  if (name == "silu" || name == "swish") return "silu";
  if (name == "gelu") return "gelu";
  if (name == "relu" || name == "sigmoid" || name.starts_with("plugin:")) return name;
  for (const char* tanh : {"gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_tanh"})
    if (name == tanh) return "gelu_tanh";
  fail("'{}': activation '{}' is not supported; known: silu, gelu, gelu_pytorch_tanh, relu", source,
       name);
}

void read_rope_parameters(const JsonFields& d, const JsonFields& config, ModelConfig& c) {
  RopeScalingConfig& r = c.rotary_scaling;
  r = {};
  r.kind = rope_type(d);
  if (const auto theta = d.find_float("rope_theta")) c.rotary_base = *theta;
  if (const auto part = d.find_float("partial_rotary_factor")) c.rotary_pct = *part;
  if (r.kind == "none") return;
  const auto inside = d.find_int("original_max_position_embeddings");
  const auto outside = config.find_int("original_max_position_embeddings");
  r.original_max_position = outside ? *outside : inside ? *inside : c.max_position_embeddings;
  r.attention_factor = d.find_float("attention_factor").value_or(0);
  if (r.kind == "longrope") {
    r.factor = d.find_float("factor").value_or(ratio(c, r.original_max_position));
    r.short_factor = d.floats("short_factor");
    r.long_factor = d.floats("long_factor");
    return;
  }
  const auto factor = d.find_float("factor");
  r.factor = factor || r.kind != "yarn" ? d.get_float("factor") : ratio(c, r.original_max_position);
  if (r.kind == "llama3") {
    r.low_freq_factor = d.get_float("low_freq_factor");
    r.high_freq_factor = d.get_float("high_freq_factor");
  } else if (r.kind == "yarn") {
    r.beta_fast = d.find_float("beta_fast").value_or(32);
    r.beta_slow = d.find_float("beta_slow").value_or(1);
    r.mscale = d.find_float("mscale").value_or(0);
    r.mscale_all_dim = d.find_float("mscale_all_dim").value_or(0);
    r.truncate = d.find_bool("truncate").value_or(true);
  }
}

ModelConfig read_common_config(const HfConfig& config) {
  const JsonFields f = config.fields();
  ModelConfig c;
  c.architecture = config.architecture;
  c.dtype = config.dtype.value_or(DType::f32);
  c.vocab_size = f.get_int("vocab_size");
  c.hidden_size = f.get_int("hidden_size");
  c.intermediate_size = f.get_int("intermediate_size");
  c.num_hidden_layers = f.get_int("num_hidden_layers");
  c.num_attention_heads = f.get_int("num_attention_heads");
  if (c.num_attention_heads < 1 || c.num_hidden_layers < 1 || c.num_hidden_layers > kMaxLayers)
    fail("'{}': num_attention_heads is {} and num_hidden_layers {}, expected 1 to {} each",
         config.source, c.num_attention_heads, c.num_hidden_layers, kMaxLayers);
  c.num_key_value_heads = f.find_int("num_key_value_heads").value_or(c.num_attention_heads);
  c.head_size = f.find_int("head_dim").value_or(c.hidden_size / c.num_attention_heads);
  c.max_position_embeddings = f.get_int("max_position_embeddings");
  c.norm_epsilon = f.get_float("rms_norm_eps");
  const char* act = f.has("hidden_activation") ? "hidden_activation" : "hidden_act";
  c.hidden_act = canonical_activation(f.find_string(act).value_or("silu"), config.source);
  c.tie_word_embeddings = f.find_bool("tie_word_embeddings").value_or(false);
  c.sliding_window = f.find_int("sliding_window").value_or(0);
  if (const auto theta = f.find_float("rope_theta")) c.rotary_base = *theta;
  if (const auto part = f.find_float("partial_rotary_factor")) c.rotary_pct = *part;
  if (const auto r = f.object("rope_parameters"); r && !r->has("full_attention"))
    read_rope_parameters(*r, f, c);
  else if (const auto old = f.object("rope_scaling"))
    read_rope_parameters(*old, f, c);
  return c;
}

}  // namespace tokamak

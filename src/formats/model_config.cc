#include "formats/model_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_fields.h"

namespace tokamak {
namespace {

// Sizes beyond these are damage, not models; the products of any two stay far inside int64.
constexpr int64_t kMaxSize = int64_t{1} << 28;

Json rope_to_json(const RopeScalingConfig& r) {
  Json j = {{"rope_type", r.kind}};
  if (r.kind == "none") return j;
  j["factor"] = r.factor;
  j["original_max_position_embeddings"] = r.original_max_position;
  j["attention_factor"] = r.attention_factor;
  if (r.kind == "llama3") {
    j["low_freq_factor"] = r.low_freq_factor;
    j["high_freq_factor"] = r.high_freq_factor;
  } else if (r.kind == "yarn") {
    j["beta_fast"] = r.beta_fast;
    j["beta_slow"] = r.beta_slow;
    j["mscale"] = r.mscale;
    j["mscale_all_dim"] = r.mscale_all_dim;
    j["truncate"] = r.truncate;
  } else if (r.kind == "longrope") {
    j["short_factor"] = r.short_factor;
    j["long_factor"] = r.long_factor;
  }
  return j;
}

RopeScalingConfig rope_from_json(const JsonFields& f) {
  RopeScalingConfig r;
  r.kind = f.find_string("rope_type").value_or(r.kind);
  r.factor = f.find_float("factor").value_or(r.factor);
  r.original_max_position = f.find_int("original_max_position_embeddings").value_or(0);
  r.attention_factor = f.find_float("attention_factor").value_or(0);
  r.low_freq_factor = f.find_float("low_freq_factor").value_or(r.low_freq_factor);
  r.high_freq_factor = f.find_float("high_freq_factor").value_or(r.high_freq_factor);
  r.beta_fast = f.find_float("beta_fast").value_or(r.beta_fast);
  r.beta_slow = f.find_float("beta_slow").value_or(r.beta_slow);
  r.mscale = f.find_float("mscale").value_or(0);
  r.mscale_all_dim = f.find_float("mscale_all_dim").value_or(0);
  r.truncate = f.find_bool("truncate").value_or(true);
  r.short_factor = f.floats("short_factor");
  r.long_factor = f.floats("long_factor");
  return r;
}

Json quantization_to_json(const QuantizationConfig& q) {
  const auto algo = [](const std::string& s) { return s.empty() ? Json(nullptr) : Json(s); };
  Json j = {
      {"quant_algo", algo(q.quant_algo)},     {"kv_cache_quant_algo", algo(q.kv_cache_quant_algo)},
      {"group_size", q.group_size},           {"has_zero_point", q.has_zero_point},
      {"pre_quant_scale", q.pre_quant_scale}, {"exclude_modules", q.exclude_modules}};
  if (!q.activation_scales.empty()) j["activation_scales"] = q.activation_scales;
  return j;
}

QuantizationConfig quantization_from_json(const JsonFields& f) {
  QuantizationConfig q;
  q.quant_algo = f.find_string("quant_algo").value_or("");
  q.kv_cache_quant_algo = f.find_string("kv_cache_quant_algo").value_or("");
  q.group_size = f.find_int("group_size").value_or(0);
  q.has_zero_point = f.find_bool("has_zero_point").value_or(false);
  q.pre_quant_scale = f.find_bool("pre_quant_scale").value_or(false);
  q.exclude_modules = f.strings("exclude_modules");
  if (const auto scales = f.object("activation_scales"))
    for (const auto& [module, value] : scales->json().items())
      q.activation_scales[module] = scales->get_float(module);
  return q;
}

void check_range(const std::string& source, const char* field, int64_t value, int64_t most) {
  if (value < 1 || value > most)
    fail("'{}': {} is {}, expected 1 to {}", source, field, value, most);
}

void check_positive(const std::string& source, const char* field, double value) {
  if (!std::isfinite(value) || value <= 0)
    fail("'{}': {} is {}, expected a positive number", source, field, value);
}

void check_one_of(const std::string& source, const char* field, const std::string& value,
                  std::initializer_list<const char*> known) {
  std::string list;
  for (const char* k : known) {
    if (value == k) return;
    list += (list.empty() ? "" : ", ") + std::string(k);
  }
  fail("'{}': {} is '{}'; known: {}", source, field, value, list);
}

void validate_rope(const ModelConfig& c, const std::string& source) {
  const RopeScalingConfig& r = c.rotary_scaling;
  check_one_of(source, "position_embedding_type", c.position_embedding_type,
               {"rope_gpt_neox", "rope_gptj", "alibi", "none"});
  check_one_of(source, "the rope scaling type", r.kind,
               {"none", "linear", "dynamic", "llama3", "yarn", "longrope"});
  check_positive(source, "rotary_base", c.rotary_base);
  check_positive(source, "the rope scaling factor", r.factor);
  if (!(c.rotary_pct > 0 && c.rotary_pct <= 1))
    fail("'{}': rotary_pct is {}, expected more than 0 and at most 1", source, c.rotary_pct);
  if (c.rotary_local_base < 0) check_positive(source, "rotary_local_base", c.rotary_local_base);
  if (r.kind == "llama3" || r.kind == "yarn" || r.kind == "longrope")
    check_range(source, "the rope scaling's original_max_position_embeddings",
                r.original_max_position, kMaxSize);
  if (r.kind == "llama3" && !(r.low_freq_factor > 0 && r.high_freq_factor > r.low_freq_factor))
    fail(
        "'{}': the rope scaling's low_freq_factor {} must be positive and below high_freq_factor "
        "{}",
        source, r.low_freq_factor, r.high_freq_factor);
  const size_t half = static_cast<size_t>(std::llround(c.head_size * c.rotary_pct)) / 2;
  if (r.kind == "longrope" && (r.short_factor.size() != half || r.long_factor.size() != half))
    fail("'{}': longrope has {} short and {} long factors, expected {} (half the rotary size)",
         source, r.short_factor.size(), r.long_factor.size(), half);
}

void validate_quantization(const QuantizationConfig& q, const std::string& source) {
  check_one_of(source, "quantization.quant_algo", q.quant_algo,
               {"", "GGUF", "W8A16", "W4A16", "FP8"});
  check_one_of(source, "quantization.kv_cache_quant_algo", q.kv_cache_quant_algo,
               {"", "INT8", "FP8"});
  const int64_t g = q.group_size;
  if (g != 0 && g != -1 && g != 32 && g != 64 && g != 128)
    fail("'{}': quantization.group_size is {}, expected 32, 64, 128 or -1 (a whole row)", source,
         g);
  for (const auto& [module, scale] : q.activation_scales)
    check_positive(source, fmt::format("quantization.activation_scales['{}']", module).c_str(),
                   scale);
  if (!q.activation_scales.empty() && q.quant_algo != "FP8")
    fail("'{}': quantization.activation_scales go with quant_algo FP8, found '{}'", source,
         q.quant_algo);
  if (q.pre_quant_scale)
    fail("'{}': quantization.pre_quant_scale is true; scales of activations are not supported",
         source);
}

void validate_layers(const ModelConfig& c, const std::string& source) {
  const auto per_layer = [&](const char* field, size_t found) {
    if (found != 0 && found != static_cast<size_t>(c.num_hidden_layers))
      fail("'{}': {} has {} entries, expected one for each of the {} layers", source, field, found,
           c.num_hidden_layers);
  };
  per_layer("layer_windows", c.layer_windows.size());
  per_layer("no_rope_layers", c.no_rope_layers.size());
  for (int64_t w : c.layer_windows)
    if (w < 0 || w > kMaxSize) fail("'{}': layer_windows holds {}", source, w);
  if (c.sliding_window < 0 || c.sliding_window > kMaxSize)
    fail("'{}': sliding_window is {}", source, c.sliding_window);
}

}  // namespace

std::string scaled_module(std::string weight) {
  constexpr std::string_view kAttention = ".attention.";
  weight.resize(std::min(weight.size(), weight.rfind('.')));
  const size_t at = weight.rfind(kAttention);
  if (at == std::string::npos) return weight;
  const std::string part = weight.substr(at + kAttention.size());
  if (part == "q" || part == "k" || part == "v") weight.replace(at + kAttention.size(), 1, "qkv");
  return weight;
}

void ModelConfig::validate(const std::string& source) const {
  if (architecture.empty() || model_type.empty())
    fail("'{}': architecture or model_type is missing", source);
  check_range(source, "vocab_size", vocab_size, kMaxSize);
  check_range(source, "hidden_size", hidden_size, kMaxSize);
  check_range(source, "num_hidden_layers", num_hidden_layers, kMaxLayers);
  check_range(source, "num_attention_heads", num_attention_heads, kMaxHeads);
  check_range(source, "num_key_value_heads", num_key_value_heads, kMaxHeads);
  check_range(source, "head_size", head_size, 1 << 16);
  check_range(source, "intermediate_size", intermediate_size, kMaxSize);
  check_range(source, "max_position_embeddings", max_position_embeddings, kMaxSize);
  if (num_attention_heads % num_key_value_heads != 0)
    fail("'{}': num_attention_heads is {}, not a multiple of num_key_value_heads {}", source,
         num_attention_heads, num_key_value_heads);
  check_positive(source, "norm_epsilon", norm_epsilon);
  check_one_of(source, "norm_type", norm_type, {"rms_norm", "layer_norm"});
  if (norm_bias && norm_type != "layer_norm")
    fail("'{}': norm_bias is true, norm_type is '{}'; expected layer_norm", source, norm_type);
  if (!hidden_act.starts_with("plugin:"))  // a user's op, looked for when the graph is made
    check_one_of(source, "hidden_act", hidden_act,
                 {"silu", "gelu", "gelu_tanh", "relu", "relu2", "sigmoid"});
  check_one_of(source, "dtype", std::string(info(dtype).long_name),
               {"float32", "float16", "bfloat16"});
  validate_rope(*this, source);
  validate_layers(*this, source);
  validate_quantization(quantization, source);
  check_range(source, "mapping.tp_size", mapping.tp_size, 4096);
  check_range(source, "mapping.pp_size", mapping.pp_size, 4096);
  for (double v : {attention_scale, attention_softcap, final_softcap})
    if (!std::isfinite(v) || v < 0) fail("'{}': a scale or soft cap is {}", source, v);
  check_positive(source, "embedding_scale", embedding_scale);
  check_positive(source, "residual_scale", residual_scale);
  check_positive(source, "logits_scale", logits_scale);
}

Json ModelConfig::to_json() const {
  Json j = {{"architecture", architecture},
            {"model_type", model_type},
            {"dtype", info(dtype).long_name},
            {"vocab_size", vocab_size},
            {"hidden_size", hidden_size},
            {"num_hidden_layers", num_hidden_layers},
            {"num_attention_heads", num_attention_heads},
            {"num_key_value_heads", num_key_value_heads},
            {"head_size", head_size},
            {"intermediate_size", intermediate_size},
            {"max_position_embeddings", max_position_embeddings},
            {"hidden_act", hidden_act},
            {"norm_epsilon", norm_epsilon},
            {"tie_word_embeddings", tie_word_embeddings},
            {"position_embedding_type", position_embedding_type},
            {"rotary_base", rotary_base},
            {"rotary_pct", rotary_pct},
            {"rotary_scaling", rope_to_json(rotary_scaling)},
            {"rotary_local_base", rotary_local_base},
            {"no_rope_layers", no_rope_layers},
            {"qkv_bias", qkv_bias},
            {"dense_bias", dense_bias},
            {"mlp_bias", mlp_bias},
            {"qk_norm", qk_norm},
            {"attention_scale", attention_scale},
            {"attention_softcap", attention_softcap},
            {"sliding_window", sliding_window},
            {"layer_windows", layer_windows},
            {"norm_type", norm_type},
            {"norm_bias", norm_bias},
            {"embedding_norm", embedding_norm},
            {"gated_mlp", gated_mlp},
            {"sandwich_norms", sandwich_norms},
            {"embedding_scale", embedding_scale},
            {"residual_scale", residual_scale},
            {"logits_scale", logits_scale},
            {"final_softcap", final_softcap},
            {"mapping",
             {{"world_size", mapping.world_size()},
              {"tp_size", mapping.tp_size},
              {"pp_size", mapping.pp_size}}},
            {"quantization", quantization_to_json(quantization)}};
  for (const auto& [key, text] : extra) j["extra"][key] = parse_json(text, key);
  return j;
}

ModelConfig ModelConfig::from_json(const Json& json, const std::string& source) {
  const JsonFields f(json, source);
  ModelConfig c;
  c.architecture = f.get_string("architecture");
  c.model_type = f.get_string("model_type");
  c.dtype = parse_dtype(f.get_string("dtype"));
  c.vocab_size = f.get_int("vocab_size");
  c.hidden_size = f.get_int("hidden_size");
  c.num_hidden_layers = f.get_int("num_hidden_layers");
  c.num_attention_heads = f.get_int("num_attention_heads");
  c.num_key_value_heads = f.find_int("num_key_value_heads").value_or(c.num_attention_heads);
  if (c.num_attention_heads < 1) fail("'{}': num_attention_heads is not positive", source);
  c.head_size = f.find_int("head_size").value_or(c.hidden_size / c.num_attention_heads);
  c.intermediate_size = f.get_int("intermediate_size");
  c.max_position_embeddings = f.get_int("max_position_embeddings");
  c.hidden_act = f.find_string("hidden_act").value_or(c.hidden_act);
  c.norm_epsilon = f.find_float("norm_epsilon").value_or(c.norm_epsilon);
  c.tie_word_embeddings = f.find_bool("tie_word_embeddings").value_or(false);
  c.position_embedding_type =
      f.find_string("position_embedding_type").value_or(c.position_embedding_type);
  c.rotary_base = f.find_float("rotary_base").value_or(c.rotary_base);
  c.rotary_pct = f.find_float("rotary_pct").value_or(c.rotary_pct);
  if (const auto r = f.object("rotary_scaling")) c.rotary_scaling = rope_from_json(*r);
  c.rotary_local_base = f.find_float("rotary_local_base").value_or(0);
  for (int64_t off : f.ints("no_rope_layers")) c.no_rope_layers.push_back(off != 0);
  c.qkv_bias = f.find_bool("qkv_bias").value_or(false);
  c.dense_bias = f.find_bool("dense_bias").value_or(false);
  c.mlp_bias = f.find_bool("mlp_bias").value_or(false);
  c.qk_norm = f.find_bool("qk_norm").value_or(false);
  c.attention_scale = f.find_float("attention_scale").value_or(0);
  c.attention_softcap = f.find_float("attention_softcap").value_or(0);
  c.sliding_window = f.find_int("sliding_window").value_or(0);
  c.layer_windows = f.ints("layer_windows");
  c.norm_type = f.find_string("norm_type").value_or(c.norm_type);
  c.norm_bias = f.find_bool("norm_bias").value_or(false);
  c.embedding_norm = f.find_bool("embedding_norm").value_or(false);
  c.gated_mlp = f.find_bool("gated_mlp").value_or(true);
  c.sandwich_norms = f.find_bool("sandwich_norms").value_or(false);
  c.embedding_scale = f.find_float("embedding_scale").value_or(1);
  c.residual_scale = f.find_float("residual_scale").value_or(1);
  c.logits_scale = f.find_float("logits_scale").value_or(1);
  c.final_softcap = f.find_float("final_softcap").value_or(0);
  if (const auto m = f.object("mapping")) {
    const int64_t tp = m->find_int("tp_size").value_or(1), pp = m->find_int("pp_size").value_or(1);
    check_range(source, "mapping.tp_size", tp, 4096);
    check_range(source, "mapping.pp_size", pp, 4096);
    c.mapping = {static_cast<int>(tp), static_cast<int>(pp)};
  }
  if (const auto q = f.object("quantization")) c.quantization = quantization_from_json(*q);
  if (const auto e = f.object("extra"))
    for (const auto& [key, value] : e->json().items())
      c.extra[key] = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  c.validate(source);
  return c;
}

}  // namespace tokamak

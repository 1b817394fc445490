// Small models written as the tests need them: every weight holds numbers that tell where it is
// from.
#pragma once
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "../formats/gguf_builder.h"
#include "../formats/temp_dir.h"
#include "base/block_codec.h"
#include "base/half.h"
#include "formats/checkpoint.h"
#include "formats/safetensors.h"

namespace tokamak {

struct TinySizes {
  int64_t vocab = 11, hidden = 16, wide = 24, layers = 2, heads = 4, kv = 2, head = 4;
};

using Weights = std::map<std::string, std::pair<std::vector<int64_t>, std::vector<float>>>;

inline void put(Weights& w, const std::string& name, std::vector<int64_t> shape) {
  int64_t n = 1;
  for (int64_t s : shape) n *= s;
  std::vector<float> values(static_cast<size_t>(n));
  std::iota(values.begin(), values.end(), static_cast<float>(w.size() * 1000));
  w[name] = {std::move(shape), std::move(values)};
}

inline Weights llama_weights(const TinySizes& s) {
  Weights w;
  put(w, "model.embed_tokens.weight", {s.vocab, s.hidden});
  put(w, "model.norm.weight", {s.hidden});
  put(w, "lm_head.weight", {s.vocab, s.hidden});
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".";
    put(w, p + "input_layernorm.weight", {s.hidden});
    put(w, p + "post_attention_layernorm.weight", {s.hidden});
    put(w, p + "self_attn.q_proj.weight", {s.heads * s.head, s.hidden});
    put(w, p + "self_attn.k_proj.weight", {s.kv * s.head, s.hidden});
    put(w, p + "self_attn.v_proj.weight", {s.kv * s.head, s.hidden});
    put(w, p + "self_attn.o_proj.weight", {s.hidden, s.heads * s.head});
    put(w, p + "mlp.gate_proj.weight", {s.wide, s.hidden});
    put(w, p + "mlp.up_proj.weight", {s.wide, s.hidden});
    put(w, p + "mlp.down_proj.weight", {s.hidden, s.wide});
  }
  return w;
}

inline std::string tiny_config(const TinySizes& s, const std::string& architecture,
                               const std::string& more = "") {
  return R"({"architectures":[")" + architecture + R"("],"torch_dtype":"float32","vocab_size":)" +
         std::to_string(s.vocab) + R"(,"hidden_size":)" + std::to_string(s.hidden) +
         R"(,"intermediate_size":)" + std::to_string(s.wide) + R"(,"num_hidden_layers":)" +
         std::to_string(s.layers) + R"(,"num_attention_heads":)" + std::to_string(s.heads) +
         R"(,"num_key_value_heads":)" + std::to_string(s.kv) + R"(,"head_dim":)" +
         std::to_string(s.head) + R"(,"max_position_embeddings":64,"rms_norm_eps":1e-5)" + more +
         "}";
}

// In float32; weights with a scale beside them ("…weight_scale") in float8_e4m3.
inline void write_hf(const std::filesystem::path& dir, const Weights& weights,
                     const std::string& config) {
  std::filesystem::create_directories(dir);
  std::vector<SafetensorsWriter::Declared> declared;
  const auto is_fp8 = [&](const std::string& name) { return weights.contains(name + "_scale"); };
  for (const auto& [name, w] : weights)
    declared.push_back({name, is_fp8(name) ? DType::f8e4m3 : DType::f32, w.first});
  SafetensorsWriter out(dir / "model.safetensors", declared);
  size_t i = 0;
  for (const auto& [name, w] : weights) {
    std::vector<std::byte> codes(is_fp8(name) ? w.second.size() : 0);
    quantize_row(DType::f8e4m3, w.second.data(), codes.data(), static_cast<int64_t>(codes.size()));
    out.write(i++, 0, codes.empty() ? std::as_bytes(std::span(w.second)) : std::span(codes));
  }
  out.finish();
  std::ofstream(dir / "config.json") << config;
}

inline std::vector<float> floats(const Checkpoint& c, const std::string& name) {
  const TensorView t = c.tensor(name);
  std::vector<float> out(static_cast<size_t>(t.shape.elems()));
  if (t.dtype == DType::f32) std::memcpy(out.data(), t.data, t.bytes());
  if (t.dtype == DType::bf16)
    for (size_t i = 0; i < out.size(); ++i) out[i] = bf16_to_f32(t.as<uint16_t>()[i]);
  return out;
}

// Rows [begin, end) of a matrix of `columns` columns.
inline std::vector<float> rows(const std::vector<float>& m, int64_t columns, int64_t begin,
                               int64_t end) {
  return {m.begin() + begin * columns, m.begin() + end * columns};
}

inline std::vector<float> joined(std::initializer_list<std::vector<float>> parts) {
  std::vector<float> out;
  for (const auto& p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}

}  // namespace tokamak

// The checkpoint: config.json and one rank{N}.safetensors per rank, in TensorRT-LLM's names:
//   transformer.vocab_embedding.weight                     [vocab, hidden]
//   transformer.layers.{i}.input_layernorm.weight          [hidden]
//   transformer.layers.{i}.attention.qkv.{weight,bias}     [(heads + 2·kv_heads)·head, hidden]
//     (q, k, v apart, as attention.{q,k,v}.weight, where their block formats differ)
//   transformer.layers.{i}.attention.{q,k}_layernorm.weight [head]
//   transformer.layers.{i}.attention.dense.{weight,bias}   [hidden, heads·head]
//   transformer.layers.{i}.post_layernorm.weight           [hidden]   (the norm before the MLP)
//   transformer.layers.{i}.{post_attention,post_feedforward}_layernorm.weight (sandwich norms)
//   transformer.layers.{i}.mlp.{fc,gate,proj}.{weight,bias} fc = HF gate_proj, gate = up_proj
//   transformer.layers.{i}.….bias, transformer.ln_embed.{weight,bias}: of models with layer norms
//   transformer.ln_f.weight, lm_head.weight (absent when tied)
// Linear weights are (out, in). Norm weights are float32 with Gemma's +1 already added. Tensors in
// GGUF blocks are stored as raw U8 rows; the file's metadata records format and logical shape.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "formats/model_config.h"
#include "formats/safetensors.h"

namespace tokamak {

class Checkpoint {
 public:
  static Checkpoint open(const std::filesystem::path& directory, int rank = 0);
  const ModelConfig& config() const { return config_; }
  const std::filesystem::path& directory() const { return directory_; }
  bool has(const std::string& name) const;
  TensorView tensor(const std::string& name) const;  // logical dtype and shape; Error when missing
  std::vector<std::string> names() const;            // sorted
  // After use: the pages need not stay in memory.
  void release(const TensorView& tensor) const;

 private:
  std::filesystem::path directory_;
  ModelConfig config_;
  std::shared_ptr<SafetensorsFile> file_;
  TensorMap tensors_;  // logical views
};

}  // namespace tokamak

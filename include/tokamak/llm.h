// LLM: a model at any stage (HF directory, GGUF, checkpoint, engine directory) ready to generate.
// Models that are not engines are converted and built into a cache directory first, with progress;
// the second time that is instant.
//
//   tokamak::LLM llm("SmolLM2.gguf");
//   for (const auto& c : llm.generate({{.text = "Hello"}})) std::puts(c.text.c_str());
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tokamak/guide.h"
#include "tokamak/sampling_params.h"

namespace tokamak {

class Drafter;
class Session;
class Tokenizer;
class ChatTemplate;
struct ModelConfig;

struct LLMOptions {
  std::string device = "cpu";
  int workers = 0;                      // 0: one per allowed physical core
  std::vector<std::string> plugins;     // libraries with users' ops (tokamak/plugin.h)
  std::string dtype = "auto";           // for models that must be converted first
  bool keep_quantized = true;           // GGUF blocks stay as they are
  std::string kv_cache_dtype = "auto";  // for models that must be built first
  bool tuning = true;                   // likewise
  // Likewise: bits that linears keep of activations: auto, 8, 16, or kinds of linear that get 8
  // ("gate_up,down"; also qkv, attention_out, lm_head, other).
  std::string activation_bits = "auto";
  // Logits of a sequence do not depend on others of the batch, on chunks or on workers, bit for
  // bit; at some cost in speed.
  bool deterministic = false;
  int64_t max_num_tokens = 0;    // tokens of one step; 0: the engine's limit
  std::string weights = "auto";  // map the engine file, copy it into huge pages, or auto
  // Room in the KV cache; 0: as much as the requests need, on a GPU this part of the memory that
  // weights and activations leave.
  int64_t kv_cache_tokens = 0;
  double kv_cache_free_gpu_mem_fraction = 0.9;
  // On a GPU: how much of the weights stays in its memory, the rest coming from host memory in each
  // step. "80" or "80%": percent; "0.8" (up to 1): the same as a part; "auto": what fits.
  std::string gpu_weights_percent = "100";
  int tokens_per_block = 0;  // of the KV cache's blocks; 0: 16
  // Called with a table of what will be allocated on a GPU, before it is.
  std::function<void(const std::string& table)> on_memory_plan;
  // LoRA adapters: the largest rank that load_lora() takes; 0: as the engine was built (none).
  int64_t max_lora_rank = 0;
  int64_t max_loras = 8;                         // loaded at a time
  std::vector<std::string> lora_target_modules;  // q_proj, …; empty: all that take adapters
  // Speculative decoding: none, ngram (what followed the same tokens before) or draft_model (a
  // smaller model of the same vocabulary). Outputs are those without it.
  std::string speculative_mode = "none";
  std::filesystem::path draft_model;                     // at any stage
  int64_t max_draft_len = 0;                             // tokens guessed at a time; 0: 5
  int64_t prompt_lookup_max = 4, prompt_lookup_min = 2;  // ngram: tokens that must be the same
  std::filesystem::path cache_dir;                       // empty: $XDG_CACHE_HOME/tokamak
  std::filesystem::path tokenizer_dir;  // of tokenizer and chat template; empty: the model's own
  std::string debug_tensors;            // glob over value names, kept as debug outputs and …
  std::filesystem::path debug_dir;      // … written as DIR/step{N}/NAME.npy
};

struct Request {
  std::string text;             // encoded with special tokens, or
  std::vector<int32_t> tokens;  // ids as they are (used when not empty)
  SamplingParams params;
  bool return_logits = false;  // of every generated position
  int32_t lora = -1;           // of load_lora(); -1: none
};

struct Completion {
  std::vector<int32_t> prompt_tokens, tokens;
  std::string text;
  std::string finish_reason;                            // "stop", "length"
  std::vector<std::vector<float>> logits;               // [tokens][vocab] when asked for
  std::vector<TokenLogprobs> logprobs;                  // [tokens] when params.logprobs >= 0
  double score = 0;                                     // of a beam, or of the best of several
  double first_token_s = 0;                             // request → first token
  double total_s = 0;                                   // request → last token
  int64_t draft_tokens = 0, accepted_draft_tokens = 0;  // with speculative decoding
};

// Called with the index of the completion and the text that has become certain; false cancels it.
using StreamCallback = std::function<bool(size_t index, const std::string& text)>;

class LLM {
 public:
  explicit LLM(const std::filesystem::path& model, LLMOptions options = {});
  ~LLM();
  LLM(LLM&&) noexcept;

  // All requests in one batch, n completions of each. Error when the KV cache cannot hold them.
  std::vector<Completion> generate(std::span<const Request> requests,
                                   const StreamCallback& stream = {});
  // Logits of every position of a prompt: [tokens][vocab], row by row to the callback.
  void score(std::span<const int32_t> tokens,
             const std::function<void(int64_t position, std::span<const float> logits)>& row,
             int32_t lora = -1);

  // An adapter as PEFT writes it (adapter_config.json, adapter_model.safetensors). Its number for
  // requests, until it is unloaded. Not while something runs. Error: what it holds is not plain
  // LoRA of the model's linears, its rank is too large, or max_loras are loaded.
  int32_t load_lora(const std::filesystem::path& directory);
  void unload_lora(int32_t lora);

  // For SamplingParams::guide; compiled for this model's vocabulary, and kept for equal ones.
  std::shared_ptr<const Guide> guide(const GuideSpec& spec) const;

  // The model's defaults (generation_config.json).
  const SamplingParams& default_params() const;
  const ModelConfig& config() const;
  const Tokenizer& tokenizer() const;  // Error when the model has none
  bool has_chat_template() const;
  const std::string& chat_template_source() const;  // empty: there is none
  // Renders messages (JSON text: an array of {role, content}) to a prompt.
  std::string apply_chat_template(const std::string& messages_json,
                                  const std::string& tools_json = {},
                                  bool add_generation_prompt = true) const;
  const std::filesystem::path& engine_dir() const;
  Session& session();
  Drafter* drafter();  // of the speculative mode; null: none

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tokamak

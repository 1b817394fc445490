// Flags that every command with a model shares.
#pragma once
#include <memory>
#include <string>

#include "tokamak/llm.h"

namespace CLI {
class App;
}

namespace tokamak::cli {

struct ModelOptions {
  std::string engine_dir, model;
  LLMOptions llm;
  std::string path() const;  // Error unless exactly one of --engine_dir and --model was given
};
void add_model_options(CLI::App& app, ModelOptions& options);
void add_speculation_options(CLI::App& app, LLMOptions& options);

// Sampling flags override the model's defaults only where they were given.
struct SamplingOptions {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty,
      frequency_penalty;
  std::optional<int64_t> top_k, no_repeat_ngram_size, max_output_len, min_output_len;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop_words, bad_words, logit_bias;
  std::vector<int32_t> end_ids;
  std::string guided_json, guided_regex, guided_grammar;
  std::vector<std::string> guided_choice;
  std::optional<int> logprobs;
  bool ignore_eos = false, greedy = false;
  // bad words and biases are given as text or ids: the tokenizer turns them into ids.
  SamplingParams apply(SamplingParams defaults, const LLM& llm) const;
};
void add_sampling_options(CLI::App& app, SamplingOptions& options);

}  // namespace tokamak::cli

// How the next token is chosen. Defaults are greedy-free sampling at temperature 1 over everything;
// a model's generation_config.json gives its own defaults, flags and requests override them.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tokamak {

class Guide;  // LLM::guide makes them

// Of the model's own distribution: before bias, penalties, temperature and truncation.
struct TokenLogprobs {
  float token = 0;                             // of the token chosen
  std::vector<std::pair<int32_t, float>> top;  // the likeliest, falling; lowest id first in a tie
};

struct SamplingParams {
  double temperature = 1;  // 0: greedy (the lowest id wins a tie)
  int64_t top_k = 0;       // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;  // over prompt and output (HF)
  double presence_penalty = 0;    // over the output (OpenAI)
  double frequency_penalty = 0;
  int64_t no_repeat_ngram_size = 0;  // 0: off
  std::map<int32_t, double> logit_bias;
  std::vector<std::vector<int32_t>> bad_words;  // token sequences that must not appear
  std::vector<int32_t> stop_token_ids;  // end of sequence ids of the model, and the request's
  std::vector<std::string> stop;        // stop strings; not part of the returned text
  bool ignore_eos = false;              // do not stop at stop_token_ids
  std::optional<uint64_t> seed;         // same seed, same tokens, whatever the batch
  int64_t max_tokens = 128;
  int64_t min_tokens = 0;
  // What the output must match. It ends where nothing more can follow, or at a stop token, which is
  // taken only where the guide lets the output end. Applied after bias and penalties.
  std::shared_ptr<const Guide> guide;
  int logprobs = -1;  // ≥ 0: log-probability of the token and of so many best ones

  // Outputs of one prompt, whose KV cache they share. Sample k draws with seed + k. best_of > n: so
  // many are made, and the n of the highest log-probability per token are given, at the end.
  int64_t n = 1, best_of = 0;
  // > 1: beam search instead of drawing; the n best are given, at the end. Temperature, top_k,
  // top_p and min_p change nothing then. A beam's score is the sum of its log-probabilities divided
  // by (tokens made)^length_penalty. early_stopping 1: ends when so many beams have ended; 0: when
  // no running beam would be better if it ended now; else: when none can become better.
  int64_t beam_width = 1;
  double length_penalty = 0;
  int early_stopping = 1;

  // Sequences that run beside each other for these outputs.
  int64_t width() const { return beam_width > 1 ? beam_width : best_of > n ? best_of : n; }
  // Error names the field, the value found and what is allowed.
  void validate() const;
};

}  // namespace tokamak

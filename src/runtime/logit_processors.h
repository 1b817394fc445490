// What a request's history does to its logits, before temperature: in the order of Hugging Face's
// generate, with OpenAI's bias and penalties where vLLM has them.
#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "tokamak/sampling_params.h"

namespace tokamak {

class LogitProcessors {
 public:
  // Ids outside of the vocabulary are an Error.
  LogitProcessors(const SamplingParams& params, int64_t vocab_size,
                  std::span<const int32_t> prompt);

  const SamplingParams& params() const { return params_; }
  bool active() const;  // false: process would change nothing
  void process(std::span<float> logits) const;
  void append(int32_t token);  // a token of the output
  int64_t output_size() const { return static_cast<int64_t>(tokens_.size()) - prompt_size_; }

 private:
  struct Seen {
    int32_t id;
    int64_t in_output;
  };
  void check_ids(int64_t vocab_size, std::span<const int32_t> prompt) const;
  void note(int32_t token, bool output);
  void index_ngram();
  void penalize(std::span<float> logits) const;
  void ban_repeated_ngrams(std::span<float> logits) const;
  void ban_words(std::span<float> logits) const;
  uint64_t hash_of(size_t start, size_t count) const;

  SamplingParams params_;
  std::vector<int32_t> tokens_;  // prompt and output
  int64_t prompt_size_;
  std::vector<Seen> seen_;  // each id once, in order of appearance
  std::unordered_map<int32_t, size_t> seen_at_;
  // Hash of n-1 tokens -> where the token after them is.
  std::unordered_map<uint64_t, std::vector<size_t>> ngrams_;
};

}  // namespace tokamak

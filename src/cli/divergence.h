// How far one model's predictions are from another's on a text: perplexities and the
// Kullback-Leibler divergence of the next-token distributions.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "tokamak/llm.h"

namespace tokamak::cli {

struct Divergence {
  double reference_perplexity = 0, perplexity = 0;
  double kl = 0, kl_error = 0;  // mean of KL(reference || model) in nats, and its standard error
  double same_top = 0;          // share of positions whose likeliest token is the same
  double change_error = 0;      // standard error of perplexity_change(), from the paired losses
  int64_t scored = 0, tokens = 0;
  double perplexity_change() const { return perplexity / reference_perplexity - 1; }
  std::string text() const;  // two lines
};

// Each of `models` (at least one) against the reference, in the windows of llama-perplexity:
// disjoint, of ctx tokens, the second half scored. The first `windows` of them; 0: all. Error when
// vocabularies differ or the text is too short.
std::vector<Divergence> compare_models(LLM& reference, std::span<LLM* const> models,
                                       const std::string& text_file, int64_t ctx,
                                       int64_t windows = 0);

double negative_log_likelihood(std::span<const float> logits, int32_t target);

}  // namespace tokamak::cli

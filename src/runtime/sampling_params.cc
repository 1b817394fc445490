#include "tokamak/sampling_params.h"

#include <cmath>

#include "base/error.h"

namespace tokamak {

namespace {

void check(bool ok, const char* field, double value, const char* allowed) {
  if (!ok) fail("{} is {}: it must be {}", field, value, allowed);
}

void check(bool ok, const char* field, int64_t value, const char* allowed) {
  if (!ok) fail("{} is {}: it must be {}", field, value, allowed);
}

bool within(double value, double low, double high) { return value >= low && value <= high; }

}  // namespace

void SamplingParams::validate() const {
  check(std::isfinite(temperature) && temperature >= 0, "temperature", temperature,
        "0 (greedy) or a positive number");
  check(top_k >= 0, "top_k", top_k, "0 (all tokens) or positive");
  check(within(top_p, 0, 1), "top_p", top_p, "between 0 and 1");
  check(within(min_p, 0, 1), "min_p", min_p, "between 0 and 1");
  check(std::isfinite(repetition_penalty) && repetition_penalty > 0, "repetition_penalty",
        repetition_penalty, "a positive number (1: off)");
  check(within(presence_penalty, -2, 2), "presence_penalty", presence_penalty, "between -2 and 2");
  check(within(frequency_penalty, -2, 2), "frequency_penalty", frequency_penalty,
        "between -2 and 2");
  check(no_repeat_ngram_size >= 0, "no_repeat_ngram_size", no_repeat_ngram_size,
        "0 (off) or positive");
  for (const auto& [id, bias] : logit_bias) {
    if (id < 0) fail("logit_bias names token {}: ids are not negative", id);
    if (std::isnan(bias) || bias == INFINITY)
      fail("logit_bias of token {} is {}: it must be a number or -inf", id, bias);
  }
  for (const auto& word : bad_words)
    if (word.empty()) fail("bad_words has an empty sequence: each needs at least one token");
  for (const auto& text : stop)
    if (text.empty()) fail("stop has an empty string: it would stop before the first token");
  check(max_tokens >= 1, "max_tokens", max_tokens, "at least 1");
  check(min_tokens >= 0, "min_tokens", min_tokens, "0 or positive");
  if (min_tokens > max_tokens)
    fail("min_tokens is {}: it must not exceed max_tokens, {}", min_tokens, max_tokens);
  constexpr int64_t kMost = 1024;
  if (n < 1 || n > kMost) fail("n is {}: it must be between 1 and {}", n, kMost);
  if (best_of != 0 && (best_of < n || best_of > kMost))
    fail("best_of is {}: it must be 0, or between n ({}) and {}", best_of, n, kMost);
  if (beam_width < 1 || beam_width > kMost)
    fail("beam_width is {}: it must be between 1 and {}", beam_width, kMost);
  if (beam_width > 1 && n > beam_width)
    fail("n is {}: it must not exceed beam_width, {}", n, beam_width);
  if (beam_width > 1 && best_of != 0 && best_of != beam_width)
    fail("best_of is {}: with beam search it must be 0 or beam_width, {}", best_of, beam_width);
  if (!std::isfinite(length_penalty))
    fail("length_penalty is {}: it must be a number", length_penalty);
  check(logprobs >= -1, "logprobs", int64_t{logprobs}, "-1 (none), 0 or positive");
}

}  // namespace tokamak

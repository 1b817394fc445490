#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "base/philox.h"
#include "runtime/candidates.h"
#include "runtime/logit_kernels.h"

namespace tokamak {

namespace {

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

std::vector<int32_t> likeliest(std::span<const float> logits, size_t count) {
  std::vector<int32_t> ids;
  count = std::min(count, logits.size());
  if (count == 0) return ids;
  collect_from(logits, kth_largest(logits, count), ids);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  ids.resize(std::min(ids.size(), count));
  return ids;
}

Sampler::Sampler(const SamplingParams& params, int64_t vocab_size, std::span<const int32_t> prompt)
    : processors_(params, vocab_size, prompt),
      vocab_size_(vocab_size),
      seed_(params.seed ? *params.seed : random_seed()) {
  if (params.guide) guide_.emplace(params.guide);
}

int32_t Sampler::next(std::span<const float> logits) {
  TOKAMAK_ASSERT(static_cast<int64_t>(logits.size()) == vocab_size_);
  const RowMax raw = row_max(logits);
  const int64_t step = processors_.output_size();
  if (raw.has_nan) fail("the model produced NaN logits for output token {}", step);
  if (raw.value == INFINITY) fail("the model produced infinite logits for output token {}", step);
  const int32_t token = choose(logits, raw);
  if (guide_ && !stops(token) && !guide_->accept(token))
    TOKAMAK_ASSERT_MSG(false, "token {} is not what its guide allows", token);
  if (params().logprobs >= 0) logprobs_ = logprobs_of(logits, token, params().logprobs);
  processors_.append(token);
  mask_.reset();
  return token;
}

std::optional<RowSampling> Sampler::on_device() const {
  const SamplingParams& p = params();
  if (p.guide || p.logprobs >= 0 || !p.logit_bias.empty() || !p.bad_words.empty() ||
      p.min_tokens > 1)
    return std::nullopt;
  RowSampling r;
  r.temperature = static_cast<float>(p.temperature);
  r.top_p = static_cast<float>(p.top_p);
  r.min_p = static_cast<float>(p.min_p);
  r.top_k = static_cast<int32_t>(std::min(p.top_k, vocab_size_));
  r.repetition_penalty = static_cast<float>(p.repetition_penalty);
  r.presence_penalty = static_cast<float>(p.presence_penalty);
  r.frequency_penalty = static_cast<float>(p.frequency_penalty);
  r.no_repeat_ngram_size = static_cast<int32_t>(std::min<int64_t>(p.no_repeat_ngram_size, 1 << 30));
  r.seed = seed_;
  return r;
}

bool Sampler::stops(int32_t token) const {
  return !params().ignore_eos && std::ranges::count(params().stop_token_ids, token) > 0;
}

// Stop tokens are allowed where the guide lets the output end, and there alone; beyond min_tokens
// where it lets nothing else follow.
void Sampler::mask(std::span<float> scores) const {
  std::vector<float> ends;
  if (!params().ignore_eos)
    for (const int32_t id : params().stop_token_ids)
      ends.push_back(guide_->may_end() ? scores[static_cast<size_t>(id)] : -INFINITY);
  (mask_ ? mask_ : guide_->mask())->apply(scores);
  for (size_t i = 0; i < ends.size(); ++i)
    scores[static_cast<size_t>(params().stop_token_ids[i])] = ends[i];
}

int32_t Sampler::choose(std::span<const float> logits, RowMax raw) {
  std::span<const float> scores = logits;
  if (processors_.active() || guide_) {
    scores_.assign(logits.begin(), logits.end());
    if (processors_.active()) processors_.process(scores_);
    if (guide_) mask(scores_);
    scores = scores_;
  }
  const bool greedy = params().temperature == 0;
  if (!greedy && params().temperature != 1) {
    scores_.resize(logits.size());
    divide(scores, static_cast<float>(params().temperature), scores_);
    scores = scores_;
  }
  const RowMax best = scores.data() == logits.data() ? raw : row_max(scores);
  if (best.has_nan || std::isinf(best.value))
    fail(
        "no token is left to choose: check bad_words, logit_bias, min_tokens, "
        "no_repeat_ngram_size, temperature{}",
        guide_ ? " and whether the guide's text can be spelled without what they ban" : "");
  if (greedy) return static_cast<int32_t>(index_of(scores, best.value));
  return draw(scores, best.value);
}

int32_t Sampler::draw(std::span<const float> scores, float max) const {
  const double uniform = philox_uniform(seed_, static_cast<uint64_t>(processors_.output_size()));
  const bool truncated = (params().top_k > 0 && params().top_k < vocab_size_) ||
                         params().top_p < 1 || params().min_p > 0;
  if (!truncated) return draw_from_all(scores, max, uniform);
  const Candidates c =
      select_candidates(scores, max, params().top_k, params().top_p, params().min_p);
  double total = 0;
  for (double w : c.weights) total += w;
  double left = uniform * total;
  for (size_t i = 0; i + 1 < c.ids.size(); ++i) {
    left -= c.weights[i];
    if (left < 0) return c.ids[i];
  }
  return c.ids.back();
}

int32_t Sampler::draw_from_all(std::span<const float> scores, float max, double uniform) const {
  std::vector<float> weights(scores.size());
  double left = uniform * exp_row(scores, max, weights);
  int32_t last = 0;  // of a token with weight: rounding may leave a rest at the end
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    last = static_cast<int32_t>(i);
    left -= weights[i];
    if (left < 0) break;
  }
  return last;
}

TokenLogprobs logprobs_of(std::span<const float> logits, int32_t token, int64_t count) {
  const RowMax max = row_max(logits);
  if (max.has_nan || !std::isfinite(max.value)) fail("the logits of a token hold NaN or infinity");
  std::vector<float> weights(logits.size());
  const double log_sum = std::log(exp_row(logits, max.value, weights)) + max.value;
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[static_cast<size_t>(id)] - log_sum);
  };
  TokenLogprobs result;
  result.token = logprob(token);
  for (int32_t id : likeliest(logits, static_cast<size_t>(count)))
    result.top.emplace_back(id, logprob(id));
  return result;
}

}  // namespace tokamak

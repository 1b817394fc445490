// Chooses the tokens of one request. The choice depends on the logits, the request's parameters,
// history and seed, and on nothing else: not on what else is in the batch.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "backend/device_sampling.h"
#include "guide/guide.h"
#include "runtime/logit_kernels.h"
#include "runtime/logit_processors.h"
#include "tokamak/sampling_params.h"

namespace tokamak {

// Of a row of logits: of `token`, and of the `count` likeliest ones. Error on NaN or +inf.
TokenLogprobs logprobs_of(std::span<const float> logits, int32_t token, int64_t count);

// The likeliest `count` ids, falling; the lowest id first in a tie.
std::vector<int32_t> likeliest(std::span<const float> logits, size_t count);

class Sampler {
 public:
  // prompt: for the repetition penalty, n-grams and bad words.
  Sampler(const SamplingParams& params, int64_t vocab_size, std::span<const int32_t> prompt);

  // The next token from its logits [vocab]; it counts as output from now on. Error when the logits
  // hold NaN or +inf, or when every token is banned.
  int32_t next(std::span<const float> logits);

  // What next() will need whatever the logits are: the guide's mask. Optional.
  void prepare() {
    if (guide_) mask_ = guide_->mask();
  }

  // What a device needs to go on in this one's place; empty when it cannot do all that is asked.
  std::optional<RowSampling> on_device() const;

  // The guide lets nothing follow what has been chosen.
  bool complete() const { return guide_ && guide_->complete(); }

  // A token that the device chose in its place.
  void take(int32_t token) { processors_.append(token); }

  // Of the last token; only when params.logprobs >= 0.
  const std::optional<TokenLogprobs>& logprobs() const { return logprobs_; }

 private:
  const SamplingParams& params() const { return processors_.params(); }
  int32_t choose(std::span<const float> logits, RowMax raw);
  void mask(std::span<float> scores) const;
  bool stops(int32_t token) const;
  int32_t draw(std::span<const float> scores, float max) const;
  int32_t draw_from_all(std::span<const float> scores, float max, double uniform) const;

  LogitProcessors processors_;
  std::optional<GuideState> guide_;
  std::shared_ptr<const TokenMask> mask_;  // of the next token, once it is known
  int64_t vocab_size_;
  uint64_t seed_;
  std::vector<float> scores_;  // [vocab] of the current step
  std::optional<TokenLogprobs> logprobs_;
};

}  // namespace tokamak

// Tokens drawn one by one, as the request's parameters say.
#pragma once
#include "runtime/executor/choice.h"
#include "runtime/sampler.h"

namespace tokamak {

class SampledChoice final : public Choice {
 public:
  SampledChoice(const SamplingParams& params, int64_t vocab_size, std::span<const int32_t> prompt);

  Chosen next(const LogitRows& logits) override;
  std::vector<DeviceRow> on_device() const override;
  Chosen take(std::span<const int32_t> tokens) override;

 private:
  Chosen append(int32_t token, std::optional<TokenLogprobs> logprobs);

  SamplingParams params_;
  Sampler sampler_;
  std::optional<RowSampling> on_device_;  // when the device can choose its tokens
  int32_t made_ = 0;
};

}  // namespace tokamak

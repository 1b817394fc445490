// Tokens drawn one by one, as the request's parameters say; several samples of one prompt beside
// each other.
#pragma once
#include "runtime/executor/choice.h"
#include "runtime/sampler.h"

namespace tokamak {

class SampledChoice final : public Choice {
 public:
  SampledChoice(const ExecutorRequest& request, int64_t vocab_size);

  Chosen next(const LogitRows& logits) override;
  bool prepares() const override { return params_.guide != nullptr; }
  void prepare() override {
    for (Sample& s : samples_) s.sampler.prepare();
  }
  const Sampler* sampler() const override {
    return params_.width() == 1 && samples_.size() == 1 ? &samples_[0].sampler : nullptr;
  }
  std::vector<DeviceRow> on_device() const override;
  Chosen take(std::span<const int32_t> tokens) override;
  std::vector<int32_t> drop(int32_t output) override;

 private:
  struct Sample {
    int32_t output;
    Sampler sampler;
    std::optional<RowSampling> on_device;  // when the device can choose its tokens
    double logprob = 0;                    // of its tokens together; when the best are wanted
    std::vector<OutputNews> held = {};     // until it is known which are the best
  };

  bool chooses_best() const { return params_.best_of > params_.n; }
  void append(Sample& s, OutputNews news, int32_t sequence, Chosen& chosen);
  void give_best(Chosen& chosen);

  SamplingParams params_;
  bool wants_logits_;
  std::vector<Sample> samples_;  // those that have not ended, in the order of the sequences
  std::vector<Sample> ended_;    // when the best are wanted
  bool one_sequence_ = true;     // the prompt's, from which all samples begin
  int32_t made_ = 0;             // tokens of each
};

}  // namespace tokamak

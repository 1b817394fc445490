// Lets the caller change the logits before another choice sees them.
#pragma once
#include "runtime/executor/choice.h"

namespace tokamak {

class ProcessedChoice final : public Choice {
 public:
  ProcessedChoice(LogitsProcessor processor, std::unique_ptr<Choice> then)
      : processor_(std::move(processor)), then_(std::move(then)) {}

  Chosen next(const LogitRows& logits) override;
  bool prepares() const override { return then_->prepares(); }
  void prepare() override { then_->prepare(); }
  std::vector<int32_t> drop(int32_t output) override;

 private:
  LogitsProcessor processor_;
  std::unique_ptr<Choice> then_;
  std::vector<std::vector<int32_t>> outputs_{{}};  // per sequence
  std::vector<float> logits_;
};

}  // namespace tokamak

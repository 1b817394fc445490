// Chooses the tokens of a step from logits that lie on the device, for callers that come back to
// the host after each step.
#pragma once
#include <span>
#include <vector>

#include "backend/backend.h"

namespace tokamak {

// Error says what a ChoiceError means; tokens pass.
void check_choice(int32_t token, int64_t output);

class DeviceChooser {
 public:
  explicit DeviceChooser(Backend& backend) : backend_(backend) {}

  struct Row {
    RowSampling sampling;  // without history
    int32_t output = 0;    // how many tokens the request has so far
  };
  // Sends what the choice needs: before the step is enqueued, for sending waits for what is.
  void prepare(std::span<const Row> rows, int64_t vocab);
  // Waits for the device. Tokens, or a ChoiceError, valid until the next call.
  std::span<const int32_t> choose(const float* logits);

 private:
  void size_buffers(int64_t rows, int64_t outputs, int64_t vocab);
  int32_t& slot(int64_t row) { return step_.chosen[row * step_.chosen_stride + outputs_of_[row]]; }

  Backend& backend_;
  int64_t rows_ = 0, outputs_ = 0;
  size_t workspace_bytes_ = 0;
  Backend::Buffer params_, numbers_, history_, workspace_, chosen_;
  DecodeRows step_;
  bool plain_ = false;
  std::vector<int32_t> outputs_of_, tokens_;  // per row
};

}  // namespace tokamak

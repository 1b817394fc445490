#include "runtime/device_chooser.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/device_arrays.h"

namespace tokamak {
void check_choice(int32_t token, int64_t output) {
  if (token == kNanLogits) fail("the model produced NaN logits for output token {}", output);
  if (token == kInfiniteLogits)
    fail("the model produced infinite logits for output token {}", output);
  if (token == kNothingLeft)
    fail("no token is left to choose: check no_repeat_ngram_size and temperature");
}

void DeviceChooser::size_buffers(int64_t rows, int64_t outputs, int64_t vocab) {
  const bool grow = rows > rows_ || outputs > outputs_;
  if (grow) {
    rows_ = std::max(rows, rows_ + rows_ / 2);
    outputs_ = std::max(outputs, 2 * outputs_);
    params_ = backend_.allocate(static_cast<size_t>(rows_) * sizeof(RowSampling));
    numbers_ = backend_.allocate(static_cast<size_t>(rows_) * 5 * 4);
    history_ = backend_.allocate(static_cast<size_t>(rows_ * outputs_) * 4);
    chosen_ = backend_.allocate_shared(static_cast<size_t>(rows_ * outputs_) * 4);
  }
  const size_t workspace = backend_.sampler()->workspace_bytes(static_cast<int32_t>(rows_), vocab);
  if (workspace > workspace_bytes_) {
    workspace_ = backend_.allocate(workspace);
    workspace_bytes_ = workspace;
  }
}

// A row's history is empty but for its length: that numbers the draws.
void DeviceChooser::prepare(std::span<const Row> rows, int64_t vocab) {
  const auto count = static_cast<int64_t>(rows.size());
  int64_t outputs = 0;
  std::vector<RowSampling> params;
  std::vector<int32_t> numbers(rows.size() * 5);  // lengths, prompts, then inputs nobody reads
  plain_ = true;
  outputs_of_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    TOKAMAK_ASSERT(!needs_history(rows[i].sampling));
    outputs = std::max<int64_t>(outputs, rows[i].output + 1);
    plain_ = plain_ && is_plain(rows[i].sampling);
    params.push_back(rows[i].sampling);
    numbers[i] = rows[i].output;
    outputs_of_.push_back(rows[i].output);
  }
  size_buffers(count, outputs, vocab);
  upload(backend_, params_, params);
  upload(backend_, numbers_, numbers);
  step_.rows = static_cast<int32_t>(count);
  step_.vocab = vocab;
  step_.params = reinterpret_cast<const RowSampling*>(params_.get());
  step_.history = ints(history_);
  step_.history_len = ints(numbers_);
  step_.prompt_len = ints(numbers_) + count;
  step_.history_stride = step_.chosen_stride = outputs_;
  step_.token_ids = ints(numbers_) + 2 * count;
  step_.positions = ints(numbers_) + 3 * count;
  step_.context_len = ints(numbers_) + 4 * count;
  step_.chosen = ints(chosen_);
  for (int64_t i = 0; i < count; ++i) slot(i) = kNotChosenYet;
}

std::span<const int32_t> DeviceChooser::choose(const float* logits) {
  step_.logits = logits;
  backend_.sampler()->choose(step_, plain_, workspace_.get());
  backend_.synchronize();
  tokens_.clear();
  for (int64_t i = 0; i < step_.rows; ++i) tokens_.push_back(slot(i));
  return tokens_;
}

}  // namespace tokamak

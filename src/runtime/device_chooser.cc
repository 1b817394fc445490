#include "runtime/device_chooser.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {
namespace {

int32_t* ints(const Backend::Buffer& b) { return reinterpret_cast<int32_t*>(b.get()); }

}  // namespace

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
std::span<const int32_t> DeviceChooser::choose(std::span<const Row> rows, const float* logits,
                                               int64_t vocab) {
  const auto count = static_cast<int64_t>(rows.size());
  int64_t outputs = 0;
  bool plain = true;
  std::vector<RowSampling> params;
  std::vector<int32_t> numbers(rows.size() * 5);  // lengths, prompts, then inputs nobody reads
  for (size_t i = 0; i < rows.size(); ++i) {
    TOKAMAK_ASSERT(!needs_history(rows[i].sampling));
    outputs = std::max<int64_t>(outputs, rows[i].output + 1);
    plain = plain && is_plain(rows[i].sampling);
    params.push_back(rows[i].sampling);
    numbers[i] = rows[i].output;
  }
  size_buffers(count, outputs, vocab);
  const auto put = [&](const Backend::Buffer& to, const auto& from) {
    backend_.copy_in(to.get(), reinterpret_cast<const std::byte*>(from.data()),
                     from.size() * sizeof(from[0]));
  };
  put(params_, params);
  put(numbers_, numbers);
  DecodeRows step;
  step.rows = static_cast<int32_t>(count);
  step.vocab = vocab;
  step.logits = logits;
  step.params = reinterpret_cast<const RowSampling*>(params_.get());
  step.history = ints(history_);
  step.history_len = ints(numbers_);
  step.prompt_len = ints(numbers_) + count;
  step.history_stride = step.chosen_stride = outputs_;
  step.token_ids = ints(numbers_) + 2 * count;
  step.positions = ints(numbers_) + 3 * count;
  step.context_len = ints(numbers_) + 4 * count;
  step.chosen = ints(chosen_);
  for (int64_t i = 0; i < count; ++i)
    step.chosen[i * outputs_ + rows[static_cast<size_t>(i)].output] = kNotChosenYet;
  backend_.sampler()->choose(step, plain, workspace_.get());
  backend_.synchronize();
  tokens_.clear();
  for (int64_t i = 0; i < count; ++i)
    tokens_.push_back(step.chosen[i * outputs_ + rows[static_cast<size_t>(i)].output]);
  return tokens_;
}

}  // namespace tokamak

#include "runtime/executor/prompt_notes.h"

#include <algorithm>

#include "runtime/sampler.h"

namespace tokamak {

PromptNotes::PromptNotes(const ExecutorRequest& request)
    : count_(request.prompt_logprobs),
      wants_logits_(request.return_context_logits),
      pooling_(request.pooling) {
  if (count_ >= 0 || wants_logits_) prompt_ = request.tokens;
}

// The last token's own logits are no log-probability of the prompt.
bool PromptNotes::wants(int32_t begin) const {
  if (pooling_ == Pooling::mean) return true;
  return begin + (wants_logits_ ? 0 : 1) < static_cast<int64_t>(prompt_.size());
}

void PromptNotes::add(int32_t begin, const LogitRows& logits) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const auto at = static_cast<size_t>(begin + i);
    if (at >= prompt_.size() || at < static_cast<size_t>(known_)) continue;
    ++known_;
    const std::span<const float> row = logits.row(i);
    if (wants_logits_) logits_.insert(logits_.end(), row.begin(), row.end());
    if (count_ >= 0 && at + 1 < prompt_.size())
      logprobs_.push_back(logprobs_of(row, prompt_[at + 1], count_));
  }
}

void PromptNotes::pool(int32_t begin, std::span<const float> rows, int64_t columns) {
  const auto n = static_cast<size_t>(columns);
  sum_.resize(n);
  if (pooling_ == Pooling::last) {
    std::ranges::copy(rows.last(n), sum_.begin());
    pooled_ = 1;
    return;
  }
  for (size_t at = 0; at < rows.size(); at += n, ++begin) {
    if (begin != pooled_) continue;  // computed again
    for (size_t i = 0; i < n; ++i) sum_[i] += static_cast<double>(rows[at + i]);
    ++pooled_;
  }
}

std::vector<float> PromptNotes::take_embedding() {
  std::vector<float> mean;
  for (const double s : sum_) mean.push_back(static_cast<float>(s / std::max(pooled_, 1)));
  return mean;
}

SharedLogits PromptNotes::take_logits() {
  if (!wants_logits_) return {};
  return std::make_shared<const std::vector<float>>(std::move(logits_));
}

}  // namespace tokamak

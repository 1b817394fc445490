#include "runtime/executor/prompt_notes.h"

#include <algorithm>

#include "runtime/sampler.h"

namespace tokamak {

PromptNotes::PromptNotes(const ExecutorRequest& request)
    : count_(request.prompt_logprobs), pooling_(request.pooling) {
  if (count_ >= 0) prompt_ = request.tokens;
}

bool PromptNotes::wants(int32_t begin) const {
  if (pooling_ == Pooling::mean) return true;
  return begin + 1 < static_cast<int64_t>(prompt_.size());
}

void PromptNotes::add(int32_t begin, const LogitRows& logits) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const auto next = static_cast<size_t>(begin + i + 1);
    if (next >= prompt_.size() || logprobs_.size() >= next) continue;
    logprobs_.push_back(logprobs_of(logits.row(i), prompt_[next], count_));
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

}  // namespace tokamak

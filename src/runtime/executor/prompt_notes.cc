#include "runtime/executor/prompt_notes.h"

#include "runtime/sampler.h"

namespace tokamak {

PromptNotes::PromptNotes(const ExecutorRequest& request) : count_(request.prompt_logprobs) {
  if (count_ >= 0) prompt_ = request.tokens;
}

bool PromptNotes::wants(int32_t begin) const {
  return begin + 1 < static_cast<int64_t>(prompt_.size());
}

void PromptNotes::add(int32_t begin, const LogitRows& logits) {
  for (int64_t i = 0; i < logits.rows; ++i) {
    const auto next = static_cast<size_t>(begin + i + 1);
    if (next >= prompt_.size() || logprobs_.size() >= next) continue;
    logprobs_.push_back(logprobs_of(logits.row(i), prompt_[next], count_));
  }
}

}  // namespace tokamak

// What a request wants to know of its prompt's tokens, gathered while chunks of it are computed.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "runtime/session.h"
#include "tokamak/executor.h"

namespace tokamak {

class PromptNotes {
 public:
  explicit PromptNotes(const ExecutorRequest& request);

  // Whether all of the prompt must be computed for it.
  static bool wanted(const ExecutorRequest& request) {
    return request.prompt_logprobs >= 0 || request.return_context_logits ||
           request.pooling == Pooling::mean;
  }

  // Whether the rows of all these tokens are needed, beginning with the prompt's `begin`-th.
  bool wants(int32_t begin) const;
  // A row for each of the tokens from `begin` on. What is known already stays: a request that gave
  // way computes its prompt again.
  void add(int32_t begin, const LogitRows& logits);
  std::vector<TokenLogprobs> take_logprobs() { return std::move(logprobs_); }
  SharedLogits take_logits();

  // Whether hidden states make its embedding, instead of logits its tokens.
  bool pools() const { return pooling_.has_value(); }
  // rows × columns states, of the tokens from `begin` on, or of the prompt's last one alone.
  void pool(int32_t begin, std::span<const float> rows, int64_t columns);
  std::vector<float> take_embedding();

 private:
  int count_ = -1;  // of the best tokens at each place; -1: no log-probabilities are wanted
  bool wants_logits_ = false;
  std::vector<int32_t> prompt_;          // when anything is wanted
  int32_t known_ = 0;                    // tokens whose logits have been seen
  std::vector<TokenLogprobs> logprobs_;  // [prompt - 1]
  std::vector<float> logits_;            // [prompt][vocab]
  std::optional<Pooling> pooling_;
  int32_t pooled_ = 0;       // tokens so far
  std::vector<double> sum_;  // of their states
};

}  // namespace tokamak

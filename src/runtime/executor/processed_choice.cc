#include "runtime/executor/processed_choice.h"

namespace tokamak {

Chosen ProcessedChoice::next(const LogitRows& logits) {
  logits_.assign(logits.data, logits.data + logits.rows * logits.vocab);
  for (int64_t i = 0; i < logits.rows; ++i)
    processor_({logits_.data() + i * logits.vocab, static_cast<size_t>(logits.vocab)},
               outputs_[static_cast<size_t>(i)]);
  Chosen chosen = then_->next({logits_.data(), logits.rows, logits.vocab});
  std::vector<std::vector<int32_t>> now;
  for (const Branch& b : chosen.next) {
    now.push_back(outputs_[static_cast<size_t>(b.parent)]);
    now.back().push_back(b.token);
  }
  outputs_ = std::move(now);
  return chosen;
}

std::vector<int32_t> ProcessedChoice::drop(int32_t output) {
  const std::vector<int32_t> kept = then_->drop(output);
  std::vector<std::vector<int32_t>> now;
  for (const int32_t s : kept) now.push_back(outputs_[static_cast<size_t>(s)]);
  outputs_ = std::move(now);
  return kept;
}

}  // namespace tokamak

#include "runtime/device_choice.h"

#include <atomic>

#include "base/error.h"

namespace tokamak {

void check_choice(int32_t token, int64_t output) {
  if (token == kNanLogits) fail("the model produced NaN logits for output token {}", output);
  if (token == kInfiniteLogits)
    fail("the model produced infinite logits for output token {}", output);
  if (token == kNothingLeft)
    fail("no token is left to choose: check no_repeat_ngram_size and temperature");
}

int32_t wait_for_choice(Backend& backend, const int32_t& slot) {
  constexpr int kAsk = 4096;
  const std::atomic_ref<const int32_t> value(slot);
  for (int spins = 0;; ++spins) {
    const int32_t token = value.load(std::memory_order_acquire);
    if (token != kNotChosenYet) return token;
    if (spins % kAsk != kAsk - 1 || !backend.idle()) continue;
    const int32_t last = value.load(std::memory_order_acquire);  // it may have come just now
    TOKAMAK_ASSERT_MSG(last != kNotChosenYet, "a decoding step ended without a token");
    return last;
  }
}

}  // namespace tokamak

#include "runtime/executor/choice.h"

#include "base/error.h"
#include "runtime/executor/sampled_choice.h"

namespace tokamak {

Chosen Choice::take(std::span<const int32_t>) {
  TOKAMAK_ASSERT_MSG(false, "this choice is not the device's");
  return {};
}

namespace {

// An embedding follows from the prompt: nothing is chosen.
class NoChoice final : public Choice {
 public:
  Chosen next(const LogitRows&) override { return {{}, {{.finish_reason = "stop"}}}; }
};

}  // namespace

std::unique_ptr<Choice> make_choice(const ExecutorRequest& request, int64_t vocab_size) {
  if (request.pooling) return std::make_unique<NoChoice>();
  return std::make_unique<SampledChoice>(request.params, vocab_size, request.tokens);
}

}  // namespace tokamak

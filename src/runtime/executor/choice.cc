#include "runtime/executor/choice.h"

#include "base/error.h"
#include "runtime/executor/beam_choice.h"
#include "runtime/executor/processed_choice.h"
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
  std::vector<int32_t> drop(int32_t) override { return {}; }
};

}  // namespace

std::unique_ptr<Choice> make_choice(const ExecutorRequest& request, int64_t vocab_size) {
  if (request.pooling) return std::make_unique<NoChoice>();
  std::unique_ptr<Choice> choice;
  if (request.params.beam_width > 1)
    choice = std::make_unique<BeamChoice>(request, vocab_size);
  else
    choice = std::make_unique<SampledChoice>(request, vocab_size);
  if (request.logits_processor)
    choice = std::make_unique<ProcessedChoice>(request.logits_processor, std::move(choice));
  return choice;
}

}  // namespace tokamak

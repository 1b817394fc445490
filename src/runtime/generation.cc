#include "runtime/generation.h"

#include <algorithm>
#include <chrono>

namespace tokamak {
namespace {

class Batch {
 public:
  Batch(Session& session, std::span<const GenerationInput> inputs, const GenerationHooks& hooks)
      : session_(session), inputs_(inputs), hooks_(hooks), outputs_(inputs.size()) {
    next_.resize(inputs.size());
    step_.reserve(inputs.size());
    active_.reserve(inputs.size());
  }
  ~Batch() {
    for (const int32_t s : sequences_) session_.remove_sequence(s);
  }

  std::vector<GenerationOutput> run() {
    start_ = Clock::now();
    int64_t tokens = 0;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].prompt.empty()) fail("prompt {} has no tokens", i);
      if (inputs_[i].max_tokens < 1)
        fail("prompt {} asks for {} tokens, expected at least 1", i, inputs_[i].max_tokens);
      tokens += static_cast<int64_t>(inputs_[i].prompt.size()) + inputs_[i].max_tokens;
      outputs_[i].tokens.reserve(static_cast<size_t>(inputs_[i].max_tokens));
      sequences_.push_back(session_.add_sequence());
      active_.push_back(i);
    }
    session_.reserve(tokens, static_cast<int64_t>(inputs_.size()));
    for (const size_t i : active_) step_.push_back({sequences_[i], inputs_[i].prompt});
    while (!active_.empty()) {
      take(session_.step(step_));
      step_.clear();
      for (const size_t i : active_) step_.push_back({sequences_[i], {&next_[i], 1}});
    }
    return std::move(outputs_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Row r of the logits belongs to the r-th active sequence.
  void take(const LogitRows& logits) {
    size_t kept = 0;
    for (size_t r = 0; r < active_.size(); ++r) {
      const size_t i = active_[r];
      GenerationOutput& out = outputs_[i];
      next_[i] = hooks_.choose(i, logits.row(static_cast<int64_t>(r)));
      out.tokens.push_back(next_[i]);
      out.total_s = std::chrono::duration<double>(Clock::now() - start_).count();
      if (out.tokens.size() == 1) out.first_token_s = out.total_s;
      out.stopped = !hooks_.accept(i, next_[i]);
      if (!out.stopped && static_cast<int64_t>(out.tokens.size()) < inputs_[i].max_tokens)
        active_[kept++] = i;
    }
    active_.resize(kept);
  }

  Session& session_;
  std::span<const GenerationInput> inputs_;
  const GenerationHooks& hooks_;
  std::vector<GenerationOutput> outputs_;
  std::vector<int32_t> sequences_, next_;
  std::vector<size_t> active_;
  std::vector<SequenceInput> step_;
  Clock::time_point start_;
};

}  // namespace

std::vector<GenerationOutput> generate(Session& session, std::span<const GenerationInput> inputs,
                                       const GenerationHooks& hooks) {
  return Batch(session, inputs, hooks).run();
}

}  // namespace tokamak

#include "runtime/generation.h"

#include <algorithm>
#include <chrono>

namespace tokamak {
namespace {

class Batch {
 public:
  Batch(Session& session, DecodeLoop& loop, std::span<const GenerationInput> inputs,
        const GenerationHooks& hooks)
      : session_(session), loop_(loop), inputs_(inputs), hooks_(hooks), outputs_(inputs.size()) {
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
    take(session_.step(step_));
    const bool on_device = std::ranges::all_of(
        inputs_, [](const GenerationInput& in) { return in.sampling.has_value(); });
    while (!active_.empty()) {
      if (on_device && loop_.fits(static_cast<int64_t>(active_.size()))) {
        decode_on_device();
        continue;
      }
      step_.clear();
      for (const size_t i : active_) step_.push_back({sequences_[i], {&next_[i], 1}});
      take(session_.step(step_));
    }
    return std::move(outputs_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Row r of the logits belongs to the r-th active sequence.
  void take(const LogitRows& logits) {
    for (size_t r = 0; r < active_.size(); ++r) {
      const size_t i = active_[r];
      append(i, hooks_.choose(i, logits.row(static_cast<int64_t>(r))));
    }
    drop_ended();
  }

  void append(size_t i, int32_t token) {
    GenerationOutput& out = outputs_[i];
    next_[i] = token;
    out.tokens.push_back(token);
    out.total_s = std::chrono::duration<double>(Clock::now() - start_).count();
    if (out.tokens.size() == 1) out.first_token_s = out.total_s;
    out.stopped = !hooks_.accept(i, token);
  }
  int64_t left(size_t i) const {
    const GenerationOutput& out = outputs_[i];
    return out.stopped ? 0 : inputs_[i].max_tokens - static_cast<int64_t>(out.tokens.size());
  }
  void drop_ended() {
    std::erase_if(active_, [this](size_t i) { return left(i) == 0; });
  }

  void decode_on_device() {
    std::vector<DecodeRow> rows;
    for (const size_t i : active_)
      rows.push_back(
          {sequences_[i], inputs_[i].prompt, outputs_[i].tokens, left(i), *inputs_[i].sampling});
    loop_.run(rows, [this](size_t r, int32_t token) {
      append(active_[r], token);
      return left(active_[r]) > 0;
    });
    drop_ended();
  }

  Session& session_;
  DecodeLoop& loop_;
  std::span<const GenerationInput> inputs_;
  const GenerationHooks& hooks_;
  std::vector<GenerationOutput> outputs_;
  std::vector<int32_t> sequences_, next_;
  std::vector<size_t> active_;
  std::vector<SequenceInput> step_;
  Clock::time_point start_;
};

}  // namespace

std::vector<GenerationOutput> generate(Session& session, DecodeLoop& loop,
                                       std::span<const GenerationInput> inputs,
                                       const GenerationHooks& hooks) {
  return Batch(session, loop, inputs, hooks).run();
}

}  // namespace tokamak

#include "runtime/generation.h"

#include <algorithm>
#include <chrono>

namespace tokamak {
namespace {

class Batch {
 public:
  Batch(Session& session, DecodeLoop& loop, std::span<const GenerationInput> inputs,
        const GenerationHooks& hooks, Drafter* drafter)
      : session_(session),
        loop_(loop),
        inputs_(inputs),
        hooks_(hooks),
        drafter_(drafter),
        outputs_(inputs.size()) {
    next_.resize(inputs.size());
    step_.reserve(inputs.size());
    active_.reserve(inputs.size());
  }
  ~Batch() {
    for (const int32_t s : sequences_) session_.remove_sequence(s);
    for (size_t i = 0; drafter_ && i < inputs_.size(); ++i) drafter_->drop(i);
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
      session_.set_adapter(sequences_.back(), inputs_[i].adapter);
      active_.push_back(i);
    }
    session_.reserve(tokens, static_cast<int64_t>(inputs_.size()));
    for (auto& next : next_) next.reserve(drafter_ ? 65 : 1);
    for (const size_t i : active_) step_.push_back({sequences_[i], inputs_[i].prompt});
    take(session_.step(step_));
    const bool on_device = !drafter_ && std::ranges::all_of(inputs_, [](const GenerationInput& in) {
      return in.sampling.has_value();
    });
    while (!active_.empty()) {
      if (on_device && loop_.fits(static_cast<int64_t>(active_.size()))) {
        decode_on_device();
        continue;
      }
      if (drafter_) draft();
      step_.clear();
      for (const size_t i : active_) step_.push_back({sequences_[i], next_[i], WantLogits::all});
      take(session_.step(step_));
    }
    return std::move(outputs_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Rows in the order of the active sequences: of a prompt one, else one for each token given.
  // What was guessed wrong, and all after it, leaves the KV cache.
  void take(const LogitRows& logits) {
    int64_t row = 0;
    for (const size_t i : active_) {
      const size_t guesses = next_[i].empty() ? 0 : next_[i].size() - 1;
      size_t right = 0;
      while (append(i, hooks_.choose(i, logits.row(row + static_cast<int64_t>(right)))) &&
             right < guesses && outputs_[i].tokens.back() == next_[i][right + 1])
        ++right;
      row += static_cast<int64_t>(guesses) + 1;
      outputs_[i].drafted += static_cast<int64_t>(guesses);
      outputs_[i].accepted += static_cast<int64_t>(right);
      if (right < guesses)
        session_.truncate(sequences_[i],
                          session_.length(sequences_[i]) - static_cast<int32_t>(guesses - right));
      next_[i].assign(1, outputs_[i].tokens.back());
    }
    drop_ended();
  }

  // False when that was the last one.
  bool append(size_t i, int32_t token) {
    GenerationOutput& out = outputs_[i];
    out.tokens.push_back(token);
    out.total_s = std::chrono::duration<double>(Clock::now() - start_).count();
    if (out.tokens.size() == 1) out.first_token_s = out.total_s;
    out.stopped = !hooks_.accept(i, token);
    return left(i) > 0;
  }

  // Adds the guesses to what the next step is given; the last token of all is always a choice.
  void draft() {
    drafts_.clear();
    for (const size_t i : active_)
      drafts_.push_back(
          {i, inputs_[i].prompt, outputs_[i].tokens, inputs_[i].sampler, left(i) - 1, {}});
    drafter_->propose(drafts_);
    for (const DraftRequest& d : drafts_)
      next_[d.id].insert(next_[d.id].end(), d.guesses.begin(), d.guesses.end());
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
      const bool goes_on = append(active_[r], token);
      next_[active_[r]].assign(1, token);
      return goes_on;
    });
    drop_ended();
  }

  Session& session_;
  DecodeLoop& loop_;
  std::span<const GenerationInput> inputs_;
  const GenerationHooks& hooks_;
  Drafter* const drafter_;
  std::vector<GenerationOutput> outputs_;
  std::vector<int32_t> sequences_;
  std::vector<std::vector<int32_t>> next_;  // that each sequence's next step is given
  std::vector<DraftRequest> drafts_;
  std::vector<size_t> active_;
  std::vector<SequenceInput> step_;
  Clock::time_point start_;
};

}  // namespace

std::vector<GenerationOutput> generate(Session& session, DecodeLoop& loop,
                                       std::span<const GenerationInput> inputs,
                                       const GenerationHooks& hooks, Drafter* drafter) {
  return Batch(session, loop, inputs, hooks, drafter).run();
}

}  // namespace tokamak

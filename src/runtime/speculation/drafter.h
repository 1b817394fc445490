// Guesses of the next tokens of sequences. The model then computes all guesses of a sequence in one
// step and its sampler chooses token by token, as it would without them; a guess was right where it
// is what the sampler chose. So outputs have the model's own distribution, and with a seed they are
// the same tokens, whatever is guessed: guesses cost or save time alone.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/sampler.h"

namespace tokamak {

struct SpeculationOptions {
  std::string mode = "none";  // none, ngram, draft_model
  int64_t max_draft_len = 0;  // guesses of a step; 0: 5
  // ngram: how many of the last tokens must have been there before, at most and at least.
  int64_t prompt_lookup_max = 4, prompt_lookup_min = 2;
  bool enabled() const { return mode != "none"; }
  int64_t draft_len() const { return max_draft_len > 0 ? max_draft_len : 5; }
  void validate() const;  // Error names the flag
};

struct DraftRequest {
  uint64_t id = 0;                          // of the sequence, from step to step
  std::span<const int32_t> prompt, output;  // together at least one token
  const Sampler* sampler = nullptr;         // has seen all of the output
  int64_t most = 0;                         // guesses that are of use
  std::vector<int32_t> guesses;             // the answer: `most` of them or fewer
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  virtual void propose(std::span<DraftRequest> requests) = 0;
  virtual void drop(uint64_t id) { (void)id; }  // a sequence has ended
};

}  // namespace tokamak

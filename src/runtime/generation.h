// The static batch: all prompts run together, then one token of every sequence a step until each
// has ended. Which token comes next, and whether a sequence goes on, is the caller's; a device with
// a sampler of its own goes from step to step without asking.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/decode_loop.h"
#include "runtime/session.h"
#include "runtime/speculation/drafter.h"

namespace tokamak {

struct GenerationInput {
  std::span<const int32_t> prompt;  // at least one token
  int64_t max_tokens = 0;           // at least one
  // Set: after the first token a device with a sampler of its own may choose in place of `choose`.
  std::optional<RowSampling> sampling;
  int32_t adapter = -1;              // Session::adapters()
  const Sampler* sampler = nullptr;  // that `choose` asks; with a drafter
};

struct GenerationOutput {
  std::vector<int32_t> tokens;
  bool stopped = false;               // by `accept`; otherwise max_tokens were made
  double first_token_s = 0;           // from the call to the first token
  double total_s = 0;                 // to the last one
  int64_t drafted = 0, accepted = 0;  // tokens that were guessed, and that were right
};

struct GenerationHooks {
  // The next token of sequence i from its logits [vocab].
  std::function<int32_t(size_t i, std::span<const float> logits)> choose;
  // Called with each token; false ends the sequence.
  std::function<bool(size_t i, int32_t token)> accept;
};

// With a drafter steps compute its guesses, too, and the host chooses every token.
// Errors of the session (token outside the vocabulary, KV cache full) pass through; the session's
// sequences are removed in any case.
std::vector<GenerationOutput> generate(Session& session, DecodeLoop& loop,
                                       std::span<const GenerationInput> inputs,
                                       const GenerationHooks& hooks, Drafter* drafter = nullptr);

}  // namespace tokamak

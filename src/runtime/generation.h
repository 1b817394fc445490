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

namespace tokamak {

struct GenerationInput {
  std::span<const int32_t> prompt;  // at least one token
  int64_t max_tokens = 0;           // at least one
  // Set: after the first token a device with a sampler of its own may choose in place of `choose`.
  std::optional<RowSampling> sampling;
};

struct GenerationOutput {
  std::vector<int32_t> tokens;
  bool stopped = false;      // by `accept`; otherwise max_tokens were made
  double first_token_s = 0;  // from the call to the first token
  double total_s = 0;        // to the last one
};

struct GenerationHooks {
  // The next token of sequence i from its logits [vocab].
  std::function<int32_t(size_t i, std::span<const float> logits)> choose;
  // Called with each token; false ends the sequence.
  std::function<bool(size_t i, int32_t token)> accept;
};

// Errors of the session (token outside the vocabulary, KV cache full) pass through; the session's
// sequences are removed in any case.
std::vector<GenerationOutput> generate(Session& session, DecodeLoop& loop,
                                       std::span<const GenerationInput> inputs,
                                       const GenerationHooks& hooks);

}  // namespace tokamak

#include "runtime/speculation/ngram_drafter.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {

void SpeculationOptions::validate() const {
  if (mode != "none" && mode != "ngram" && mode != "draft_model")
    fail("--speculative_decoding_mode '{}': known: none, ngram, draft_model", mode);
  if (max_draft_len < 0 || max_draft_len > 64)
    fail("--max_draft_len is {}, expected 1 to 64 (0: 5)", max_draft_len);
  if (prompt_lookup_min < 1 || prompt_lookup_min > prompt_lookup_max || prompt_lookup_max > 64)
    fail("--prompt_lookup_min {} and --prompt_lookup_max {}: expected 1 <= min <= max <= 64",
         prompt_lookup_min, prompt_lookup_max);
}

std::vector<int32_t> look_up(std::span<const int32_t> tokens, int64_t longest, int64_t shortest,
                             int64_t most) {
  const auto size = static_cast<int64_t>(tokens.size());
  // end: one behind an earlier place; match: how much of the ending is there.
  int64_t best = shortest - 1, best_end = 0;
  for (int64_t end = size - 1; end >= shortest && best < longest; --end) {
    int64_t match = 0;
    while (match < longest && match < end &&
           tokens[static_cast<size_t>(end - 1 - match)] ==
               tokens[static_cast<size_t>(size - 1 - match)])
      ++match;
    if (match > best) {
      best = match;
      best_end = end;
    }
  }
  if (best < shortest) return {};
  // Where the place reaches into the ending, what follows repeats.
  std::vector<int32_t> guesses;
  for (int64_t i = best_end; static_cast<int64_t>(guesses.size()) < most; ++i)
    guesses.push_back(i < size ? tokens[static_cast<size_t>(i)]
                               : guesses[static_cast<size_t>(i - size)]);
  return guesses;
}

void NgramDrafter::propose(std::span<DraftRequest> requests) {
  for (DraftRequest& r : requests) {
    r.guesses.clear();
    if (r.most <= 0) continue;
    tokens_.assign(r.prompt.begin(), r.prompt.end());
    tokens_.insert(tokens_.end(), r.output.begin(), r.output.end());
    r.guesses = look_up(tokens_, options_.prompt_lookup_max, options_.prompt_lookup_min,
                        std::min(r.most, options_.draft_len()));
  }
}

}  // namespace tokamak

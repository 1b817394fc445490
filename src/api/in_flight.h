// LLM::generate through the executor: requests with several outputs each.
#pragma once
#include <span>
#include <vector>

#include "tokamak/executor.h"
#include "tokamak/llm.h"

namespace tokamak {

// n completions of each request, in order. A KV cache that may grow is made to hold them all.
std::vector<Completion> generate_in_flight(Session& session, bool fixed_cache,
                                           const Tokenizer* tokenizer,
                                           std::vector<ExecutorRequest> requests,
                                           const StreamCallback& stream);

}  // namespace tokamak

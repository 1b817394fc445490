// What the scheduler knows of a request.
#pragma once
#include <algorithm>
#include <utility>

#include "runtime/scheduler/scheduler.h"

namespace tokamak {

struct Scheduler::Sequence {
  Sequence(std::vector<int32_t> tokens, BlockTable table)
      : tokens(std::move(tokens)), table(std::move(table)) {}
  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
  // What is left to compute before the next token can be chosen.
  int32_t left() const { return length() - computed; }
  bool ready() const { return left() == 1 && computed > 0; }

  std::vector<int32_t> tokens;  // prompt and output
  int32_t to_come = 0;          // of them, at the end
  int32_t computed = 0;         // of them, in the KV cache
  int32_t shared = 0;           // full blocks that the tree knows
  int32_t known = 0;            // most tokens that were computed before it gave way
  BlockTable table;
  std::vector<int32_t> guessed;  // the last token and what may follow it; empty: no guesses
};

struct Scheduler::Entry {
  Entry(RequestId id, SchedulerRequest r, BlockPool& pool, int32_t block_size)
      : id(id), request(std::move(r)) {
    sequences.emplace_back(request.prompt, BlockTable(pool, block_size));
    sequences[0].tokens.reserve(request.prompt.size() +
                                static_cast<size_t>(std::min<int64_t>(request.max_tokens, 1024)));
  }
  bool decodes() const {
    return std::ranges::all_of(sequences, [](const Sequence& s) { return s.ready(); });
  }
  int64_t made() const {
    return sequences[0].length() - static_cast<int64_t>(request.prompt.size());
  }
  // All tokens are there, or to come.
  bool complete() const { return made() >= request.max_tokens; }
  int32_t to_come() const { return sequences[0].to_come; }
  // The one whose tokens are to be computed next. After giving way they come back one by one, each
  // over the blocks of those ahead.
  Sequence& next() {
    return *std::ranges::find_if(sequences, [](const Sequence& s) { return !s.ready(); });
  }
  // Of several sequences each keeps its last token, so that all get logits in one step.
  int32_t left(const Sequence& s) const { return s.left() - (sequences.size() > 1 ? 1 : 0); }

  const RequestId id;
  const SchedulerRequest request;
  std::vector<Sequence> sequences;
  int32_t reused = 0;     // tokens that the tree had when this started
  bool runs = false;      // in running_, not in waiting_
  bool gave_way = false;  // at least once
  int32_t row = 0;        // of the last step's choices, that the token to come is from
  // Its sequences depend on a step that is under way (those of width 1 are known all the same).
  bool branches = false;
};

}  // namespace tokamak

#include "runtime/speculation/draft_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace tokamak {

DraftModel::~DraftModel() {
  for (auto& [id, s] : sequences_) session_.remove_sequence(s.sequence);
}

void DraftModel::drop(uint64_t id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  session_.remove_sequence(it->second.sequence);
  sequences_.erase(it);
}

// What its cache has beyond the true tokens goes; the true ones that it lacks come first.
DraftModel::Guessing DraftModel::start(DraftRequest& r) {
  const auto [it, is_new] = sequences_.try_emplace(r.id);
  Sequence& s = it->second;
  if (is_new) s.sequence = session_.add_sequence();
  const size_t size = r.prompt.size() + r.output.size();
  const auto at = [&](size_t i) {
    return i < r.prompt.size() ? r.prompt[i] : r.output[i - r.prompt.size()];
  };
  size_t same = 0;  // the last token is always computed: its logits are wanted
  while (same + 1 < size && same < s.tokens.size() && s.tokens[same] == at(same)) ++same;
  s.tokens.resize(same);
  session_.truncate(s.sequence, static_cast<int32_t>(same));
  Guessing g{&r, &s, *r.sampler, {}};
  for (size_t i = same; i < size; ++i) g.input.push_back(at(i));
  return g;
}

void DraftModel::step(std::span<Guessing> guessing) {
  std::vector<SequenceInput> inputs;
  for (const Guessing& g : guessing) inputs.push_back({g.sequence->sequence, g.input});
  const LogitRows logits = session_.step(inputs);
  for (size_t i = 0; i < guessing.size(); ++i) {
    Guessing& g = guessing[i];
    g.sequence->tokens.insert(g.sequence->tokens.end(), g.input.begin(), g.input.end());
    const int32_t token = g.sampler->next(logits.row(static_cast<int64_t>(i)));
    g.request->guesses.push_back(token);
    g.input.assign(1, token);
  }
}

void DraftModel::propose(std::span<DraftRequest> requests) {
  std::vector<Guessing> guessing;
  for (DraftRequest& r : requests) {
    r.guesses.clear();
    if (r.most > 0) guessing.push_back(start(r));
  }
  while (!guessing.empty()) {
    try {
      step(guessing);
    } catch (const Error& e) {  // no room, NaN: the model itself may do without guesses
      if (!std::exchange(failed_, true)) log::warning("the draft model failed: {}", e.what());
      return;
    }
    std::erase_if(guessing, [&](const Guessing& g) {
      return g.sampler->complete() || static_cast<int64_t>(g.request->guesses.size()) >=
                                          std::min(g.request->most, options_.draft_len());
    });
  }
}

}  // namespace tokamak

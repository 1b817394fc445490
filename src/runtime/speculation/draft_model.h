// Guesses of a smaller model over the same vocabulary. It chooses with the request's own sampler
// and random numbers, so that alike distributions give alike tokens.
#pragma once
#include <map>

#include "runtime/session.h"
#include "runtime/speculation/drafter.h"

namespace tokamak {

class DraftModel final : public Drafter {
 public:
  // The session is its own until it ends.
  DraftModel(Session& session, const SpeculationOptions& options)
      : session_(session), options_(options) {}
  ~DraftModel() override;
  void propose(std::span<DraftRequest> requests) override;
  void drop(uint64_t id) override;

 private:
  struct Sequence {
    int32_t sequence = -1;
    std::vector<int32_t> tokens;  // in the KV cache
  };
  struct Guessing {
    DraftRequest* request;
    Sequence* sequence;
    std::optional<Sampler> sampler;
    std::vector<int32_t> input;  // of the next step
  };
  Guessing start(DraftRequest& r);
  void step(std::span<Guessing> guessing);

  Session& session_;
  const SpeculationOptions options_;
  std::map<uint64_t, Sequence> sequences_;
  bool failed_ = false;  // said so
};

}  // namespace tokamak

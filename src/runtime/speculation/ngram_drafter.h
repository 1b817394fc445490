// Prompt lookup: what followed when the last tokens were there before. Source: Saxena, "Prompt
// Lookup Decoding" (2023).
#pragma once
#include "runtime/speculation/drafter.h"

namespace tokamak {

class NgramDrafter final : public Drafter {
 public:
  explicit NgramDrafter(const SpeculationOptions& options) : options_(options) {}
  void propose(std::span<DraftRequest> requests) override;

 private:
  const SpeculationOptions options_;
  std::vector<int32_t> tokens_;
};

// The tokens, `most` at most, that followed the last earlier place of the longest ending of
// `tokens` that has one: `longest` tokens down to `shortest`.
std::vector<int32_t> look_up(std::span<const int32_t> tokens, int64_t longest, int64_t shortest,
                             int64_t most);

}  // namespace tokamak

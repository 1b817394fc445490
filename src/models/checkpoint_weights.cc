#include "models/checkpoint_weights.h"

namespace tokamak {

nn::WeightLookup checkpoint_weights(const Checkpoint& checkpoint) {
  return [checkpoint](const std::string& name) -> std::optional<nn::WeightInfo> {
    if (!checkpoint.has(name)) return std::nullopt;
    const TensorView t = checkpoint.tensor(name);
    return nn::WeightInfo{t.dtype, std::vector<int64_t>(t.shape.begin(), t.shape.end())};
  };
}

}  // namespace tokamak

// The weights of a checkpoint as graph builders see them: dtype and shape by name.
#pragma once
#include "formats/checkpoint.h"
#include "nn/builder.h"

namespace tokamak {

// Keeps a copy of the handle (the file stays mapped).
nn::WeightLookup checkpoint_weights(const Checkpoint& checkpoint);

}  // namespace tokamak

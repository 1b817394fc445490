// Names of maps and activations as the kernels number them.
#pragma once
#include <string>

#include "backend/cuda/kernels/reference.h"
#include "ops/activation.h"

namespace tokamak {

cuda::MapKind map_kind(const std::string& unary);  // Error: unknown
cuda::MapKind map_kind(Activation a);

}  // namespace tokamak

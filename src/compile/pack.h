// Packs weights through their layouts, in parallel and in pieces, so that memory stays small.
#pragma once
#include <span>

#include "backend/backend.h"
#include "compile/weight_source.h"
#include "engine/engine_file.h"

namespace tokamak {

// Bytes that the weight takes in its layout; Error when the backend does not know the layout.
size_t packed_weight_bytes(const Backend& backend, const PlanWeight& weight);

// `packed` holds packed_weight_bytes(). done(part) is called for pieces that are finished.
void pack_weight(Backend& backend, WeightSource& source, const PlanWeight& weight,
                 std::span<std::byte> packed,
                 const std::function<void(std::span<std::byte>)>& done);

// All weights of a plan into the engine file, with progress.
void pack_weights(Backend& backend, WeightSource& source, const Plan& plan, EngineWriter& writer);

}  // namespace tokamak

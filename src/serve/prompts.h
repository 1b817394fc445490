// Prompts of requests: text, token ids, or arrays of either.
#pragma once
#include <vector>

#include "serve/engine_room.h"
#include "serve/fields.h"

namespace tokamak::serve {

// The field's prompts, none of them empty. ApiError.
std::vector<std::vector<int32_t>> read_prompts(const Fields& fields, const char* name,
                                               const EngineRoom& room);

}  // namespace tokamak::serve

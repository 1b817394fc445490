// The OpenAPI description of what is served: /openapi.json.
#pragma once
#include "base/json.h"

namespace tokamak::serve {

struct EngineRoom;

// With this model's name and limits in place of general ones.
Json openapi_document(const EngineRoom& room);

}  // namespace tokamak::serve

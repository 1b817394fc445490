// The part of the OpenAPI description that is the same for every model.
#pragma once
#include <string_view>

namespace tokamak::serve {

std::string_view openapi_text();

}  // namespace tokamak::serve

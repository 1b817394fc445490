// Integers out of JSON: nlohmann's get<int>() cuts down what the type cannot hold.
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/json.h"

namespace tokamak {

// The integer, when it is one from low to high (4096.0 is not); Error with the value found.
int64_t json_integer(const Json& json, int64_t low, int64_t high);

template <typename T>
T json_integer(const Json& json) {
  constexpr uint64_t kHigh = std::numeric_limits<T>::max();
  return static_cast<T>(json_integer(json, static_cast<int64_t>(std::numeric_limits<T>::min()),
                                     static_cast<int64_t>(std::min<uint64_t>(kHigh, INT64_MAX))));
}

}  // namespace tokamak

#include "base/json_integer.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace tokamak {

int64_t json_integer(const Json& json, int64_t low, int64_t high) {
  const bool fits = json.is_number_unsigned() ? json.get<uint64_t>() <= uint64_t{INT64_MAX}
                                              : json.is_number_integer();
  if (!fits || json.get<int64_t>() < low || json.get<int64_t>() > high) {
    const std::string found = json.dump(-1, ' ', true, Json::error_handler_t::replace);
    fail("{} stands where an integer from {} to {} belongs", found.substr(0, 60), low, high);
  }
  return json.get<int64_t>();
}

}  // namespace tokamak

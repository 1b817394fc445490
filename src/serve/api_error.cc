#include "serve/api_error.h"

#include <nlohmann/json.hpp>

namespace tokamak::serve {

const char* error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

Json error_object(int status, const std::string& message, const std::string& param,
                  const std::string& code) {
  Json e = {{"message", message}, {"type", error_type(status)}, {"param", nullptr}};
  if (!param.empty()) e["param"] = param;
  e["code"] = nullptr;
  if (!code.empty()) e["code"] = code;
  return {{"error", std::move(e)}};
}

}  // namespace tokamak::serve

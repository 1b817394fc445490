// An error that a client gets as an OpenAI error object with its HTTP status.
#pragma once
#include <string>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace tokamak::serve {

struct ApiError : Error {
  ApiError(int status, const std::string& message, std::string param = {}, std::string code = {})
      : Error(message), status(status), param(std::move(param)), code(std::move(code)) {}
  int status;
  std::string param, code;  // the field and OpenAI's name of the case; may be empty
};

// "invalid_request_error" and so on, as OpenAI names the kinds.
const char* error_type(int status);
Json error_object(int status, const std::string& message, const std::string& param = {},
                  const std::string& code = {});

}  // namespace tokamak::serve

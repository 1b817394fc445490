// What an error says, for tests of messages.
#pragma once
#include <stdexcept>
#include <string>

namespace tokamak::test {

// The message of the error that `f` throws; "" when it throws none.
template <typename F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const std::runtime_error& e) {  // Error is one, also the public headers'
    return e.what();
  }
  return {};
}

}  // namespace tokamak::test

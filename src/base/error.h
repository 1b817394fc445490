// Two kinds of error. Bad input (a file, a flag, a request): Error, one line that says what was
// found, what was expected and what to do; commands exit with code 2. A broken invariant of our
// own: TOKAMAK_ASSERT, which names file and line and aborts.
#pragma once
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace tokamak {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void assert_failed(const char* expression, const char* file, int line,
                                const std::string& detail = {});

}  // namespace tokamak

#define TOKAMAK_ASSERT(cond) \
  (static_cast<bool>(cond) ? void(0) : ::tokamak::assert_failed(#cond, __FILE__, __LINE__))
// With values: TOKAMAK_ASSERT_MSG(a == b, "a {} b {}", a, b)
#define TOKAMAK_ASSERT_MSG(cond, ...) \
  (static_cast<bool>(cond)            \
       ? void(0)                      \
       : ::tokamak::assert_failed(#cond, __FILE__, __LINE__, fmt::format(__VA_ARGS__)))

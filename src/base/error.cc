#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace tokamak {

void assert_failed(const char* expression, const char* file, int line, const std::string& detail) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s%s%s\n", file, line, expression,
               detail.empty() ? "" : "; ", detail.c_str());
  std::abort();
}

}  // namespace tokamak

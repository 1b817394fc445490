#include "api/cache_dir.h"

#include <cstdlib>

#include "base/error.h"

namespace tokamak {

std::filesystem::path cache_dir(const std::filesystem::path& given) {
  if (!given.empty()) return given;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg)
    return std::filesystem::path(xdg) / "tokamak";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache/tokamak";
  fail("neither --cache_dir nor XDG_CACHE_HOME nor HOME names a place for built models");
}

}  // namespace tokamak

// timing.cache: what is read is written and read again alike; damage is ignored with a warning.
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "compile/timing_cache.h"
#include "scratch_directory.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  return ::setenv("TOKAMAK_LOG_LEVEL", "off", 0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  const auto path = scratch_directory("timing.cache", data, size) / "timing.cache";
  TimingCache cache, again;
  cache.load(path);
  if (cache.entries() == 0) return 0;
  cache.save(path);
  const std::string once = read_text(path);
  again.load(path);
  again.save(path);
  TOKAMAK_ASSERT(again.entries() == cache.entries() && read_text(path) == once);
  return 0;
}

// generation_config.json: sampling parameters that are valid, or an Error.
#include "api/generation_config.h"
#include "base/error.h"
#include "scratch_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  try {
    read_generation_config(scratch_directory("generation_config.json", data, size), nullptr)
        .validate();
  } catch (const Error&) {
  }
  return 0;
}

// A .npy file of prompts: integers of the shape it states, or an Error.
#include "base/error.h"
#include "formats/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  try {
    const NpyInts ints = parse_npy_ints(std::as_bytes(std::span(data, size)), "fuzz");
    TOKAMAK_ASSERT(static_cast<size_t>(ints.shape.elems()) == ints.values.size());
  } catch (const Error&) {
  }
  return 0;
}

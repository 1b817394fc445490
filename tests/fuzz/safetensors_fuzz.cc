// A .safetensors file: opens or throws Error; every byte of every tensor is readable.
#include "base/error.h"
#include "formats/safetensors.h"
#include "scratch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  const ScratchFile file(data, size);
  try {
    const SafetensorsFile f(file.path());
    volatile uint64_t sum = 0;
    for (const auto& [name, view] : f.tensors())
      for (size_t i = 0; i < view.bytes(); ++i) sum = sum + static_cast<uint8_t>(view.data[i]);
  } catch (const Error&) {
  }
  return 0;
}

// A GGUF file: opens or throws Error; every value and the ends of every tensor are readable, and
// the model's config comes out or is refused.
#include "base/block_codec.h"
#include "base/error.h"
#include "formats/gguf.h"
#include "models/family.h"
#include "scratch_file.h"

namespace {

using namespace tokamak;

void read_first_row(const TensorView& t) {
  if (t.shape.rank() == 0 || t.shape.elems() == 0 || t.shape.back() > 1 << 16) return;
  std::vector<float> row(static_cast<size_t>(t.shape.back()));
  dequantize_row(t.dtype, t.data, row.data(), t.shape.back());
  dequantize_row(t.dtype, t.data + t.bytes() - t.row_bytes(), row.data(), t.shape.back());
}

template <typename Read>
void attempt(Read read) {
  try {
    read();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ScratchFile scratch(data, size);
  attempt([&] {
    const GgufFile f(scratch.path());
    for (const auto& [name, view] : f.tensors()) read_first_row(view);
    for (const auto& entry : f.metadata()) {
      const std::string& key = entry.first;
      attempt([&] { f.get_string(key); });
      attempt([&] { f.get_int(key); });
      attempt([&] { f.get_floats(key); });
      attempt([&] { f.get_strings(key); });
    }
    model_config_from_gguf(f, family_of_gguf(f.get_string("general.architecture"), "fuzz"));
  });
  return 0;
}

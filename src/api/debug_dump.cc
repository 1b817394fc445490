#include "api/debug_dump.h"

#include <cstring>
#include <vector>

#include "base/half.h"
#include "formats/npy.h"

namespace tokamak {
namespace {

float value_at(DType dtype, const std::byte* data, int64_t i) {
  uint16_t half = 0;
  float f = 0;
  if (dtype == DType::f32) {
    std::memcpy(&f, data + i * 4, 4);
    return f;
  }
  std::memcpy(&half, data + i * 2, 2);
  return dtype == DType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
}

}  // namespace

void DebugDump::write(const DebugTensor& t) {
  TOKAMAK_ASSERT(t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16);
  const auto folder = directory_ / fmt::format("step{}", step_);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail("cannot create '{}': {}", folder.string(), error.message());
  std::vector<float> values;
  values.reserve(static_cast<size_t>(t.rows * t.columns));
  for (int64_t r = 0; r < t.rows; ++r)
    for (int64_t c = 0; c < t.columns; ++c)
      values.push_back(value_at(t.dtype, t.data, r * t.row_stride + c));
  write_npy(folder / (t.name + ".npy"), {t.rows, t.columns}, values);
}

}  // namespace tokamak

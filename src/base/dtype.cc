#include "base/dtype.h"

#include <array>
#include <string>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"f32", "float32", 1, 4},   {"f16", "float16", 1, 2},        {"bf16", "bfloat16", 1, 2},
    {"i8", "int8", 1, 1},       {"u8", "uint8", 1, 1},           {"i16", "int16", 1, 2},
    {"i32", "int32", 1, 4},     {"i64", "int64", 1, 8},          {"f64", "float64", 1, 8},
    {"bool", "bool", 1, 1},     {"f8e4m3", "float8_e4m3", 1, 1}, {"f8e5m2", "float8_e5m2", 1, 1},
    {"q4_0", "q4_0", 32, 18},   {"q4_1", "q4_1", 32, 20},        {"q5_0", "q5_0", 32, 22},
    {"q5_1", "q5_1", 32, 24},   {"q8_0", "q8_0", 32, 34},        {"q2_k", "q2_k", 256, 84},
    {"q3_k", "q3_k", 256, 110}, {"q4_k", "q4_k", 256, 144},      {"q5_k", "q5_k", 256, 176},
    {"q6_k", "q6_k", 256, 210},
}};

}  // namespace

const DTypeInfo& info(DType t) { return kInfo[static_cast<size_t>(t)]; }

size_t bytes_of(DType t, int64_t n) {
  const DTypeInfo& i = info(t);
  TOKAMAK_ASSERT(n % i.block_elems == 0);
  return static_cast<size_t>(n / i.block_elems) * i.block_bytes;
}

DType parse_dtype(std::string_view text) {
  std::string known;
  for (int t = 0; t < kDTypeCount; ++t) {
    if (text == kInfo[t].name || text == kInfo[t].long_name) return static_cast<DType>(t);
    known += (known.empty() ? "" : ", ") + std::string(kInfo[t].long_name);
  }
  fail("unknown dtype '{}'; known: {}", text, known);
}

}  // namespace tokamak

#include "base/dtype.h"

#include <array>
#include <string>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"f32", "float32", 1, 4},
    {"f16", "float16", 1, 2},
    {"bf16", "bfloat16", 1, 2},
    {"i8", "int8", 1, 1},
    {"u8", "uint8", 1, 1},
    {"i16", "int16", 1, 2},
    {"i32", "int32", 1, 4},
    {"i64", "int64", 1, 8},
    {"f64", "float64", 1, 8},
    {"bool", "bool", 1, 1},
    {"f8e4m3", "float8_e4m3", 1, 1},
    {"f8e5m2", "float8_e5m2", 1, 1},
    {"q4_0", "q4_0", 32, 18},
    {"q4_1", "q4_1", 32, 20},
    {"q5_0", "q5_0", 32, 22},
    {"q5_1", "q5_1", 32, 24},
    {"q8_0", "q8_0", 32, 34},
    {"q2_k", "q2_k", 256, 84},
    {"q3_k", "q3_k", 256, 110},
    {"q4_k", "q4_k", 256, 144},
    {"q5_k", "q5_k", 256, 176},
    {"q6_k", "q6_k", 256, 210},
    {"int8_g64", "int8_g64", 64, 66},
    {"int8_g128", "int8_g128", 128, 130},
    {"int8_row", "int8_row", 0, 2},
    {"int8a_g32", "int8a_g32", 32, 36},
    {"int8a_g64", "int8a_g64", 64, 68},
    {"int8a_g128", "int8a_g128", 128, 132},
    {"int8a_row", "int8a_row", 0, 4},
    {"int4_g64", "int4_g64", 64, 34},
    {"int4_g128", "int4_g128", 128, 66},
    {"int4_row", "int4_row", 0, 2},
    {"int4a_g64", "int4a_g64", 64, 36},
    {"int4a_g128", "int4a_g128", 128, 68},
    {"int4a_row", "int4a_row", 0, 4},
    {"f8_row", "fp8", 0, 4},
}};

}  // namespace

const DTypeInfo& info(DType t) { return kInfo[static_cast<size_t>(t)]; }

GroupFormat group_format(DType t) {
  if (t < DType::int8_g64 || t == DType::f8_row) return {};
  const bool int8 = t <= DType::int8a_row;
  const bool has_min = int8 ? t >= DType::int8a_g32 : t >= DType::int4a_g64;
  return {int8 ? 8 : 4, info(t).block_elems, has_min};
}

DType group_dtype(int bits, int group, bool has_min) {
  if (group == 32 && bits == 4) return has_min ? DType::q4_1 : DType::q4_0;
  if (group == 32 && bits == 8 && !has_min) return DType::q8_0;
  for (int t = static_cast<int>(DType::int8_g64); t < kDTypeCount; ++t) {
    const GroupFormat f = group_format(static_cast<DType>(t));
    if (f.bits == bits && f.group == group && f.has_min == has_min) return static_cast<DType>(t);
  }
  fail("no weight-only format of {} bits in groups of {}; bits: 8, 4; groups: 32, 64, 128, 0 (row)",
       bits, group);
}

int row_step(DType t) {
  const int block = info(t).block_elems;
  if (block > 0) return block;
  return t == DType::f8_row ? 1 : 8 / group_format(t).bits;
}

bool fits_row(DType t, int64_t columns) { return columns % row_step(t) == 0; }

size_t row_bytes(DType t, int64_t columns) {
  const DTypeInfo& i = info(t);
  TOKAMAK_ASSERT(fits_row(t, columns));
  if (i.block_elems > 0) return bytes_of(t, columns);
  const int bits = t == DType::f8_row ? 8 : group_format(t).bits;
  return static_cast<size_t>(i.block_bytes) + static_cast<size_t>(columns) * bits / 8;
}

size_t bytes_of(DType t, int64_t n) {
  const DTypeInfo& i = info(t);
  TOKAMAK_ASSERT(i.block_elems > 0 && n % i.block_elems == 0);
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

// Element types of tensors, including the block formats of GGUF (each block holds its own scales).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tokamak {

enum class DType : uint8_t {
  f32,
  f16,
  bf16,
  i8,
  u8,
  i16,
  i32,
  i64,
  f64,
  boolean,
  f8e4m3,
  f8e5m2,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  // Weight-only formats (group_format() describes them): int8 or int4 codes, symmetric or with a
  // minimum (a), a scale per group of 64 or 128 inputs or per row. Groups of 32 are q8_0, q4_0,
  // q4_1 and int8a_g32.
  int8_g64,
  int8_g128,
  int8_row,
  int8a_g32,
  int8a_g64,
  int8a_g128,
  int8a_row,
  int4_g64,
  int4_g128,
  int4_row,
  int4a_g64,
  int4a_g128,
  int4a_row,
  // FP8 weights: a row is its float32 scale d and f8e4m3 codes q; values d * q. No code is a NaN.
  f8_row,
};
inline constexpr int kDTypeCount = static_cast<int>(DType::f8_row) + 1;

struct DTypeInfo {
  std::string_view name;       // short name, e.g. "bf16"
  std::string_view long_name;  // as flags and config.json spell it, e.g. "bfloat16"
  int block_elems;  // elements that one block holds; 1 for plain types; 0: a row is one block
  int block_bytes;  // bytes of one block; of one row's scales where a row is one block
};

const DTypeInfo& info(DType t);
inline std::string_view name(DType t) { return info(t).name; }
inline bool is_block_format(DType t) { return t >= DType::q4_0; }
inline bool is_float(DType t) { return t <= DType::bf16 || t == DType::f64; }

// A weight-only format: per group f16 scale d [, f16 minimum m], then the codes in order (4 bits:
// the lower half of a byte first). Values: symmetric int8 d * q, q in -127 … 127; symmetric int4 d
// * (q - 8), q in 0 … 15; with a minimum d * q + m, q unsigned.
struct GroupFormat {
  int bits = 0;   // 8 or 4; 0: not a weight-only format
  int group = 0;  // elements; 0: the row
  bool has_min = false;
};
GroupFormat group_format(DType t);
// The dtype of such a format, GGUF's for groups of 32 (group 0: per row). Error: no such format.
DType group_dtype(int bits, int group, bool has_min);

// Whether a row of `columns` elements can be stored: whole blocks, for int4 rows an even number.
bool fits_row(DType t, int64_t columns);
// The number that a row's elements must divide by.
int row_step(DType t);
// Bytes of one row; fits_row must hold.
size_t row_bytes(DType t, int64_t columns);
// Bytes of `n` consecutive elements, a multiple of the block size; not for per-row formats.
size_t bytes_of(DType t, int64_t n);

// Accepts short and long names ("bf16", "bfloat16"); throws Error listing the known ones.
DType parse_dtype(std::string_view text);

}  // namespace tokamak

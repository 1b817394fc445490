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
};
inline constexpr int kDTypeCount = static_cast<int>(DType::q6_k) + 1;

struct DTypeInfo {
  std::string_view name;       // short name, e.g. "bf16"
  std::string_view long_name;  // as flags and config.json spell it, e.g. "bfloat16"
  int block_elems;             // elements that one block holds; 1 for plain types
  int block_bytes;             // bytes of one block
};

const DTypeInfo& info(DType t);
inline std::string_view name(DType t) { return info(t).name; }
inline bool is_block_format(DType t) { return t >= DType::q4_0; }
inline bool is_float(DType t) { return t <= DType::bf16 || t == DType::f64; }

// Bytes of `n` consecutive elements; n must be a multiple of the block size.
size_t bytes_of(DType t, int64_t n);

// Accepts short and long names ("bf16", "bfloat16"); throws Error listing the known ones.
DType parse_dtype(std::string_view text);

}  // namespace tokamak

// Geometry of the weight layout "rows16", which all tuned linear tactics share. Sixteen output rows
// (one vector lane each) form a group; groups follow each other. A group of K inputs holds
//   f32  [K][16]              f16  [K][16]              bf16 [K/2][16][2] (pairs of k per lane)
//   block formats: scale records of all blocks, padded to 64 bytes; then per 32 inputs a data
//   record
//     [high bits 64 or 128 B] [nibbles 256 B] or [int8 512 B], byte 4*row + c of each 64 bytes.
// Nibble byte i*64 + 4*row + c: low half input 4i + c, high half input 16 + 4i + c.
// High bits: q5 bit j of byte 4*row + c belongs to input 4j + c; q6 two 64-byte halves (inputs
// 0-15, 16-31), bits 2j, 2j+1 to input 4j + c of the half. Scale records: q4_0 q5_0 q8_0 {d
// f16[16]}; q4_1 q5_1 {d, m f16[16]}; per 256 inputs q4_k q5_k {d, dmin f16[16], scale u8[8][16],
// min u8[8][16]}; q6_k {d f16[16], scale i8[16][16]}.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {
namespace {

constexpr int kGroupRows = 16;

struct Rows16Format {
  int data_bytes;    // of 32 inputs (block formats)
  int high_bytes;    // of these, high bits
  int scale_inputs;  // inputs that one scale record covers
  int scale_bytes;   // of one scale record
};

[[maybe_unused]] constexpr Rows16Format rows16_format(DType t) {
  switch (t) {
    case DType::q4_0:
      return {256, 0, 32, 32};
    case DType::q4_1:
      return {256, 0, 32, 64};
    case DType::q5_0:
      return {320, 64, 32, 32};
    case DType::q5_1:
      return {320, 64, 32, 64};
    case DType::q8_0:
      return {512, 0, 32, 32};
    case DType::q4_k:
      return {256, 0, 256, 320};
    case DType::q5_k:
      return {320, 64, 256, 320};
    case DType::q6_k:
      return {384, 128, 256, 288};
    default:
      return {0, 0, 1, 0};
  }
}
[[maybe_unused]] constexpr bool rows16_is_block(DType t) { return rows16_format(t).data_bytes > 0; }
[[maybe_unused]] constexpr bool rows16_knows(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16 || rows16_is_block(t);
}
// Bytes of the scale section of a group.
[[maybe_unused]] constexpr size_t rows16_scales(DType t, int64_t k) {
  const Rows16Format f = rows16_format(t);
  return (static_cast<size_t>(k / f.scale_inputs) * f.scale_bytes + 63) & ~size_t{63};
}
[[maybe_unused]] constexpr size_t rows16_group_bytes(DType t, int64_t k) {
  const auto n = static_cast<size_t>(k);
  if (t == DType::f32) return n * 64;
  if (t == DType::f16) return (n * 32 + 63) & ~size_t{63};
  if (t == DType::bf16) return (n + 1) / 2 * 64;
  return rows16_scales(t, k) + n / 32 * rows16_format(t).data_bytes;
}

}  // namespace
}  // namespace tokamak

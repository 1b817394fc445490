// Geometry of the weight layout "rows16", which all tuned linear tactics share. Sixteen output rows
// (one vector lane each) form a group; groups follow each other. A group of K inputs holds
//   f32  [K][16]              f16  [K][16]              bf16 [K/2][16][2] (pairs of k per lane)
//   f8_row  scales f32 [16], codes [K][16]
//   block formats (K a multiple of 32): scale records of all blocks, padded to 64 bytes; then per
//   32 inputs a data record
//     [high bits 64 or 128 B] [low bits: int8 512 B, 4 bits 256 B, 2 bits 128 B].
// Int8 byte i*64 + 4*row + c: input 4i + c. Nibble byte i*64 + 4*row + c: low half input 4i + c,
// high half input 16 + 4i + c. Two bits (also q6's high bits): two 64-byte halves (inputs 0-15,
// 16-31), bits 2j, 2j+1 of byte 4*row + c belong to input 4j + c of the half. One high bit (q5,
// q3): bit j of byte 4*row + c belongs to input 4j + c. Scale records, one per block of 32, per
// group of 64 or 128 inputs, or one for all (per row): symmetric {d f16[16]}; with a minimum {d, m
// f16[16]}. Per 256 inputs q4_k q5_k {d, dmin f16[16], scale u8[8][16], min u8[8][16]}; q6_k q3_k
// {d f16[16], scale i8[16][16]}; q2_k {d, dmin f16[16], u8[16][16] of scale | min << 4}.
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
  int scale_inputs;  // inputs that one scale record covers; 0: all
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
    case DType::q2_k:
      return {128, 0, 256, 320};
    case DType::q3_k:
      return {192, 64, 256, 288};
    case DType::q4_k:
      return {256, 0, 256, 320};
    case DType::q5_k:
      return {320, 64, 256, 320};
    case DType::q6_k:
      return {384, 128, 256, 288};
    case DType::int8_g64:
      return {512, 0, 64, 32};
    case DType::int8_g128:
      return {512, 0, 128, 32};
    case DType::int8_row:
      return {512, 0, 0, 32};
    case DType::int8a_g32:
      return {512, 0, 32, 64};
    case DType::int8a_g64:
      return {512, 0, 64, 64};
    case DType::int8a_g128:
      return {512, 0, 128, 64};
    case DType::int8a_row:
      return {512, 0, 0, 64};
    case DType::int4_g64:
      return {256, 0, 64, 32};
    case DType::int4_g128:
      return {256, 0, 128, 32};
    case DType::int4_row:
      return {256, 0, 0, 32};
    case DType::int4a_g64:
      return {256, 0, 64, 64};
    case DType::int4a_g128:
      return {256, 0, 128, 64};
    case DType::int4a_row:
      return {256, 0, 0, 64};
    default:
      return {0, 0, 1, 0};
  }
}
[[maybe_unused]] constexpr bool rows16_is_block(DType t) { return rows16_format(t).data_bytes > 0; }
// Whether rows of k inputs can be laid out.
[[maybe_unused]] constexpr bool rows16_fits(DType t, int64_t k) {
  if (!rows16_is_block(t))
    return t == DType::f32 || t == DType::f16 || t == DType::bf16 || t == DType::f8_row;
  const int inputs = rows16_format(t).scale_inputs;
  return k % (inputs > 32 ? inputs : 32) == 0;
}
// Scale records of a group, and the bytes of their section.
[[maybe_unused]] constexpr int64_t rows16_records(DType t, int64_t k) {
  const int inputs = rows16_format(t).scale_inputs;
  return inputs == 0 ? 1 : k / inputs;
}
[[maybe_unused]] constexpr size_t rows16_scales(DType t, int64_t k) {
  const auto records = static_cast<size_t>(rows16_records(t, k));
  return (records * rows16_format(t).scale_bytes + 63) & ~size_t{63};
}
[[maybe_unused]] constexpr size_t rows16_group_bytes(DType t, int64_t k) {
  const auto n = static_cast<size_t>(k);
  if (t == DType::f32) return n * 64;
  if (t == DType::f16) return (n * 32 + 63) & ~size_t{63};
  if (t == DType::bf16) return (n + 1) / 2 * 64;
  if (t == DType::f8_row) return 64 + ((n * 16 + 63) & ~size_t{63});
  return rows16_scales(t, k) + n / 32 * rows16_format(t).data_bytes;
}

}  // namespace
}  // namespace tokamak

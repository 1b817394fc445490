#include "backend/cpu/linear/rows16_layout.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/linear/block_codes.h"
#include "backend/cpu/linear/rows16.h"

namespace tokamak {
namespace {

// A byte whose bits [shift, shift + bits) belong to one code.
struct Place {
  size_t byte;
  int shift, bits;
};

// Low four bits (or all eight) of input i (0 … 31) of row r in a data record.
Place low_place(DType t, int i, int r) {
  if (t == DType::q8_0) return {static_cast<size_t>(i / 4 * 64 + r * 4 + i % 4), 0, 8};
  const int in_half = i % 16;
  return {static_cast<size_t>(rows16_format(t).high_bytes + in_half / 4 * 64 + r * 4 + i % 4),
          i / 16 * 4, 4};
}
Place high_place(DType t, int i, int r) {
  const auto byte = static_cast<size_t>(r * 4 + i % 4);
  if (t == DType::q6_k) return {byte + static_cast<size_t>(i / 16 * 64), i % 16 / 4 * 2, 2};
  return {byte, i / 4, 1};
}

void put(std::byte* base, Place p, unsigned v) {
  const unsigned mask = ((1u << p.bits) - 1) << p.shift;
  base[p.byte] = (base[p.byte] & std::byte(~mask)) | std::byte((v << p.shift) & mask);
}
unsigned get(const std::byte* base, Place p) {
  return std::to_integer<unsigned>(base[p.byte]) >> p.shift & ((1u << p.bits) - 1);
}

// Where block b (of block_elems inputs) of a group lies.
struct BlockPlace {
  size_t scales, data;
};
BlockPlace block_place(DType t, int64_t k, int64_t b) {
  const Rows16Format f = rows16_format(t);
  const auto at = static_cast<size_t>(b);
  const size_t records = static_cast<size_t>(info(t).block_elems) / 32;
  return {at * f.scale_bytes, rows16_scales(t, k) + at * records * f.data_bytes};
}

bool has_min(DType t) {
  return t == DType::q4_1 || t == DType::q5_1 || t == DType::q4_k || t == DType::q5_k;
}

// Calls f(byte offset of the group's scale record, code byte) for d and m (two bytes each) and the
// sub-block scales of row r.
template <typename F>
void each_scale_byte(DType t, BlockCodes& c, int r, F f) {
  auto* d = reinterpret_cast<uint8_t*>(&c.d);
  auto* m = reinterpret_cast<uint8_t*>(&c.m);
  for (int i = 0; i < 2; ++i) {
    f(r * 2 + i, d[i]);
    if (has_min(t)) f(32 + r * 2 + i, m[i]);
  }
  if (t == DType::q6_k)
    for (int s = 0; s < 16; ++s) f(32 + s * 16 + r, c.scale[s]);
  if (t == DType::q4_k || t == DType::q5_k)
    for (int s = 0; s < 8; ++s) {
      f(64 + s * 16 + r, c.scale[s]);
      f(64 + 128 + s * 16 + r, c.min[s]);
    }
}

void pack_block(DType t, int64_t k, const std::byte* block, int64_t b, int r, std::byte* group) {
  BlockCodes c;
  read_block(t, block, c);
  const BlockPlace at = block_place(t, k, b);
  each_scale_byte(t, c, r, [&](int i, uint8_t v) { group[at.scales + i] = std::byte(v); });
  const Rows16Format f = rows16_format(t);
  for (int i = 0; i < info(t).block_elems; ++i) {
    std::byte* data = group + at.data + static_cast<size_t>(i / 32 * f.data_bytes);
    put(data, low_place(t, i % 32, r), c.q[i]);
    if (f.high_bytes > 0) put(data, high_place(t, i % 32, r), c.q[i] >> 4u);
  }
}

void unpack_block(DType t, int64_t k, const std::byte* group, int64_t b, int r, std::byte* block) {
  BlockCodes c;
  const BlockPlace at = block_place(t, k, b);
  each_scale_byte(t, c, r,
                  [&](int i, uint8_t& v) { v = std::to_integer<uint8_t>(group[at.scales + i]); });
  const Rows16Format f = rows16_format(t);
  for (int i = 0; i < info(t).block_elems; ++i) {
    const std::byte* data = group + at.data + static_cast<size_t>(i / 32 * f.data_bytes);
    unsigned q = get(data, low_place(t, i % 32, r));
    if (f.high_bytes > 0) q |= get(data, high_place(t, i % 32, r)) << 4;
    c.q[i] = static_cast<uint8_t>(q);
  }
  write_block(t, c, block);
}

// Element i of row r of a float group.
size_t float_place(DType t, int64_t i, int r) {
  const auto at = static_cast<size_t>(i), row = static_cast<size_t>(r);
  if (t == DType::f32) return (at * 16 + row) * 4;
  if (t == DType::f16) return (at * 16 + row) * 2;
  return at / 2 * 64 + row * 4 + at % 2 * 2;
}

template <typename T>
void pack_float_row(DType t, const std::byte* row, int64_t k, int r, std::byte* group) {
  for (int64_t i = 0; i < k; ++i)
    std::memcpy(group + float_place(t, i, r), row + static_cast<size_t>(i) * sizeof(T), sizeof(T));
}
template <typename T>
void unpack_float_row(DType t, const std::byte* group, int64_t k, int r, std::byte* row) {
  for (int64_t i = 0; i < k; ++i)
    std::memcpy(row + static_cast<size_t>(i) * sizeof(T), group + float_place(t, i, r), sizeof(T));
}

void pack_row(DType t, const std::byte* row, int64_t k, int r, std::byte* group) {
  if (t == DType::f32) return pack_float_row<uint32_t>(t, row, k, r, group);
  if (!rows16_is_block(t)) return pack_float_row<uint16_t>(t, row, k, r, group);
  const DTypeInfo& f = info(t);
  for (int64_t b = 0; b < k / f.block_elems; ++b)
    pack_block(t, k, row + b * f.block_bytes, b, r, group);
}
void unpack_row(DType t, const std::byte* group, int64_t k, int r, std::byte* row) {
  if (t == DType::f32) return unpack_float_row<uint32_t>(t, group, k, r, row);
  if (!rows16_is_block(t)) return unpack_float_row<uint16_t>(t, group, k, r, row);
  const DTypeInfo& f = info(t);
  for (int64_t b = 0; b < k / f.block_elems; ++b)
    unpack_block(t, k, group, b, r, row + b * f.block_bytes);
}

}  // namespace

bool Rows16Layout::supports(DType dtype, const Shape& shape) const {
  return shape.rank() == 2 && rows16_knows(dtype) && shape[0] > 0 && shape[1] > 0 &&
         fits_row(dtype, shape[1]);
}

size_t Rows16Layout::packed_bytes(DType dtype, const Shape& shape) const {
  return static_cast<size_t>((shape[0] + 15) / 16) * rows16_group_bytes(dtype, shape[1]);
}

void Rows16Layout::pack(const TensorView& src, std::byte* dst, int64_t row_begin,
                        int64_t row_end) const {
  const int64_t k = src.shape[1];
  const size_t group_bytes = rows16_group_bytes(src.dtype, k);
  for (int64_t g = row_begin / 16; g * 16 < row_end; ++g) {
    std::byte* group = dst + static_cast<size_t>(g) * group_bytes;
    std::memset(group, 0, group_bytes);
    const int rows = static_cast<int>(std::min<int64_t>(16, row_end - g * 16));
    for (int r = 0; r < rows; ++r) pack_row(src.dtype, src.row(g * 16 + r), k, r, group);
  }
}

void Rows16Layout::unpack(DType dtype, const Shape& shape, const std::byte* packed,
                          std::byte* dst) const {
  const int64_t k = shape[1];
  const size_t group_bytes = rows16_group_bytes(dtype, k), row_bytes = tokamak::row_bytes(dtype, k);
  for (int64_t row = 0; row < shape[0]; ++row)
    unpack_row(dtype, packed + static_cast<size_t>(row / 16) * group_bytes, k,
               static_cast<int>(row % 16), dst + static_cast<size_t>(row) * row_bytes);
}

}  // namespace tokamak

#include "backend/cpu/linear/rows16_layout.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/linear/block_codes.h"
#include "backend/cpu/linear/rows16.h"

namespace tokamak {
namespace {

using Octets = const uint8_t*;

uint8_t octet(int v) { return static_cast<uint8_t>(v); }

// One row's share of a data record: n words of four bytes, 64 bytes apart.
void put_words(const void* from, int n, std::byte* to) {
  for (int i = 0; i < n; ++i) std::memcpy(to + i * 64, static_cast<Octets>(from) + i * 4, 4);
}
void get_words(const std::byte* from, int n, void* to) {
  for (int i = 0; i < n; ++i) std::memcpy(static_cast<uint8_t*>(to) + i * 4, from + i * 64, 4);
}

// Formats whose row is a sequence of [d f16] [m f16] [codes in order].
struct Grouped {
  int inputs;       // of a group
  int metas;        // f16 numbers before the codes
  int code_bytes;   // of 32 inputs
  bool interleave;  // nibbles lie in order, two neighbours to a byte
};
Grouped grouped_of(DType t, int64_t k) {
  const GroupFormat g = group_format(t);
  if (g.bits == 0) return {32, t == DType::q4_1 ? 2 : 1, t == DType::q8_0 ? 32 : 16, false};
  const int inputs = g.group == 0 ? static_cast<int>(k) : g.group;
  return {inputs, g.has_min ? 2 : 1, g.bits * 4, g.bits == 4};
}
bool is_grouped(DType t) {
  return group_format(t).bits != 0 || t == DType::q8_0 || t == DType::q4_0 || t == DType::q4_1;
}

// Sixteen bytes of neighbouring nibbles to bytes of the nibbles i and i + 16, and back.
void pair_nibbles(Octets in, uint8_t* out) {
  for (int i = 0; i < 8; ++i) {
    out[2 * i] = octet((in[i] & 15) | (in[8 + i] & 15) << 4);
    out[2 * i + 1] = octet(in[i] >> 4 | (in[8 + i] & 0xf0));
  }
}
void unpair_nibbles(Octets in, uint8_t* out) {
  for (int i = 0; i < 8; ++i) {
    out[i] = octet((in[2 * i] & 15) | (in[2 * i + 1] & 15) << 4);
    out[8 + i] = octet(in[2 * i] >> 4 | (in[2 * i + 1] & 0xf0));
  }
}

// Where 32 inputs of a row lie: their codes and the numbers of their group.
struct Place {
  size_t metas, codes;  // in the row
  size_t scale, data;   // in the group of rows
  bool first;           // of their group
};
Place place_of(DType t, const Grouped& f, int64_t k, int64_t block) {
  const int64_t group = block * 32 / f.inputs, inside = block - group * f.inputs / 32;
  const size_t bytes = static_cast<size_t>(f.metas * 2 + f.inputs / 32 * f.code_bytes);
  const size_t metas = static_cast<size_t>(group) * bytes;
  const Rows16Format r = rows16_format(t);
  return {metas, metas + static_cast<size_t>(f.metas * 2 + inside * f.code_bytes),
          static_cast<size_t>(group) * r.scale_bytes,
          rows16_scales(t, k) + static_cast<size_t>(block) * r.data_bytes, inside == 0};
}

// Blocks [begin, end) of 32 inputs of row r.
void pack_grouped(DType t, const std::byte* row, int64_t k, int r, int64_t begin, int64_t end,
                  std::byte* group) {
  const Grouped f = grouped_of(t, k);
  for (int64_t b = begin; b < end; ++b) {
    const Place at = place_of(t, f, k, b);
    if (at.first)
      for (int m = 0; m < f.metas; ++m)
        std::memcpy(group + at.scale + m * 32 + r * 2, row + at.metas + m * 2, 2);
    std::byte* data = group + at.data + r * 4;
    if (f.interleave) {
      uint8_t pairs[16];
      pair_nibbles(reinterpret_cast<Octets>(row + at.codes), pairs);
      put_words(pairs, 4, data);
    } else if (f.code_bytes == 32) {
      put_words(row + at.codes, 8, data);
    } else {
      put_words(row + at.codes, 4, data);
    }
  }
}
void unpack_grouped(DType t, const std::byte* group, int64_t k, int r, std::byte* row) {
  const Grouped f = grouped_of(t, k);
  for (int64_t b = 0; b < k / 32; ++b) {
    const Place at = place_of(t, f, k, b);
    if (at.first)
      for (int m = 0; m < f.metas; ++m)
        std::memcpy(row + at.metas + m * 2, group + at.scale + m * 32 + r * 2, 2);
    uint8_t codes[32];
    get_words(group + at.data + r * 4, f.code_bytes / 4, codes);
    if (f.interleave)
      unpair_nibbles(codes, reinterpret_cast<uint8_t*>(row + at.codes));
    else
      std::memcpy(row + at.codes, codes, static_cast<size_t>(f.code_bytes));
  }
}

bool low_is_two_bits(DType t) { return t == DType::q2_k || t == DType::q3_k; }

// kBits of 32 codes from kFrom on: byte c of a half holds those of inputs c, 4 + c, 8 + c …
template <int kBits, int kFrom>
void squeeze(Octets q, uint8_t* out) {
  constexpr int kPerByte = 8 / kBits;
  for (int i = 0; i < 4 * kBits; ++i) {
    int v = 0;
    for (int j = 0; j < kPerByte; ++j)
      v |= (q[i / 4 * 4 * kPerByte + 4 * j + i % 4] >> kFrom & ((1 << kBits) - 1)) << (kBits * j);
    out[i] = octet(v);
  }
}
template <int kBits, int kTo>
void expand(Octets in, uint8_t* q) {
  constexpr int kPerByte = 8 / kBits;
  for (int i = 0; i < 4 * kBits; ++i)
    for (int j = 0; j < kPerByte; ++j) {
      uint8_t& code = q[i / 4 * 4 * kPerByte + 4 * j + i % 4];
      code = octet(code | (in[i] >> (kBits * j) & ((1 << kBits) - 1)) << kTo);
    }
}

// A row's share of a data record in order: high bits, then low bits.
void codes_to_record(DType t, Octets q, uint8_t* out) {
  const int high = rows16_format(t).high_bytes / 16;
  uint8_t* low = out + high;
  if (low_is_two_bits(t)) {
    if (high > 0) squeeze<1, 2>(q, out);
    return squeeze<2, 0>(q, low);
  }
  if (high == 8) squeeze<2, 4>(q, out);
  if (high == 4) squeeze<1, 4>(q, out);
  for (int i = 0; i < 16; ++i) low[i] = octet((q[i] & 15) | q[16 + i] << 4);
}
void record_to_codes(DType t, Octets in, uint8_t* q) {
  const int high = rows16_format(t).high_bytes / 16;
  const Octets low = in + high;
  std::memset(q, 0, 32);
  if (low_is_two_bits(t)) {
    expand<2, 0>(low, q);
    if (high > 0) expand<1, 2>(in, q);
    return;
  }
  for (int i = 0; i < 16; ++i) {
    q[i] = low[i] & 15;
    q[16 + i] = octet(low[i] >> 4);
  }
  if (high == 8) expand<2, 4>(in, q);
  if (high == 4) expand<1, 4>(in, q);
}

// Calls f(offset in the scale record, byte) for d and m (two bytes each) and the sub-blocks'
// scales of row r. q2_k's are joined first.
template <typename F>
void each_scale_byte(DType t, BlockCodes& c, int r, F f) {
  auto* d = reinterpret_cast<uint8_t*>(&c.d);
  auto* m = reinterpret_cast<uint8_t*>(&c.m);
  const bool min = t != DType::q5_0 && t != DType::q6_k && t != DType::q3_k;
  for (int i = 0; i < 2; ++i) {
    f(r * 2 + i, d[i]);
    if (min) f(32 + r * 2 + i, m[i]);
  }
  if (t == DType::q4_k || t == DType::q5_k) {
    for (int s = 0; s < 8; ++s) f(64 + s * 16 + r, c.scale[s]);
    for (int s = 0; s < 8; ++s) f(64 + 128 + s * 16 + r, c.min[s]);
  } else if (info(t).block_elems == 256) {
    for (int s = 0; s < 16; ++s) f((min ? 64 : 32) + s * 16 + r, c.scale[s]);
  }
}

void pack_block(DType t, int64_t k, const std::byte* block, int64_t b, int r, std::byte* group) {
  BlockCodes c;
  read_block(t, block, c);
  if (t == DType::q2_k)
    for (int s = 0; s < 16; ++s) c.scale[s] = octet(c.scale[s] | c.min[s] << 4);
  const Rows16Format f = rows16_format(t);
  std::byte* scales = group + static_cast<size_t>(b) * f.scale_bytes;
  each_scale_byte(t, c, r, [&](int i, uint8_t v) { scales[i] = std::byte(v); });
  const int records = info(t).block_elems / 32;
  std::byte* data = group + rows16_scales(t, k) + static_cast<size_t>(b * records * f.data_bytes);
  for (int i = 0; i < records; ++i) {
    uint8_t bytes[24];
    codes_to_record(t, c.q + 32 * i, bytes);
    put_words(bytes, f.data_bytes / 64, data + i * f.data_bytes + r * 4);
  }
}

void unpack_block(DType t, int64_t k, const std::byte* group, int64_t b, int r, std::byte* block) {
  BlockCodes c;
  const Rows16Format f = rows16_format(t);
  const std::byte* scales = group + static_cast<size_t>(b) * f.scale_bytes;
  each_scale_byte(t, c, r, [&](int i, uint8_t& v) { v = std::to_integer<uint8_t>(scales[i]); });
  if (t == DType::q2_k)
    for (int s = 0; s < 16; ++s) {
      c.min[s] = octet(c.scale[s] >> 4);
      c.scale[s] &= 15;
    }
  const int records = info(t).block_elems / 32;
  const std::byte* data =
      group + rows16_scales(t, k) + static_cast<size_t>(b * records * f.data_bytes);
  for (int i = 0; i < records; ++i) {
    uint8_t bytes[24];
    get_words(data + i * f.data_bytes + r * 4, f.data_bytes / 64, bytes);
    record_to_codes(t, bytes, c.q + 32 * i);
  }
  write_block(t, c, block);
}

// Inputs [begin, end) of a float row, begin even.
template <typename T, int kApart>
void scatter(const std::byte* row, int64_t begin, int64_t end, std::byte* to) {
  for (int64_t i = begin; i < end; ++i)
    std::memcpy(to + static_cast<size_t>(i) * kApart, row + static_cast<size_t>(i) * sizeof(T),
                sizeof(T));
}
template <typename T, int kApart>
void collect(const std::byte* from, int64_t end, std::byte* row) {
  for (int64_t i = 0; i < end; ++i)
    std::memcpy(row + static_cast<size_t>(i) * sizeof(T), from + static_cast<size_t>(i) * kApart,
                sizeof(T));
}
// bf16: whole pairs are words, 64 bytes apart; an odd last input is half a word.
void pack_float(DType t, const std::byte* row, int r, int64_t begin, int64_t end,
                std::byte* group) {
  if (t == DType::f32) return scatter<uint32_t, 64>(row, begin, end, group + r * 4);
  if (t == DType::f16) return scatter<uint16_t, 32>(row, begin, end, group + r * 2);
  if (t == DType::f8_row) {
    if (begin == 0) std::memcpy(group + r * 4, row, 4);
    return scatter<uint8_t, 16>(row + 4, begin, end, group + 64 + r);
  }
  scatter<uint32_t, 64>(row, begin / 2, end / 2, group + r * 4);
  if (end % 2 != 0) std::memcpy(group + end / 2 * 64 + r * 4, row + (end - 1) * 2, 2);
}
void unpack_float(DType t, const std::byte* group, int64_t k, int r, std::byte* row) {
  if (t == DType::f32) return collect<uint32_t, 64>(group + r * 4, k, row);
  if (t == DType::f16) return collect<uint16_t, 32>(group + r * 2, k, row);
  if (t == DType::f8_row) {
    std::memcpy(row, group + r * 4, 4);
    return collect<uint8_t, 16>(group + 64 + r, k, row + 4);
  }
  collect<uint32_t, 64>(group + r * 4, k / 2, row);
  if (k % 2 != 0) std::memcpy(row + (k - 1) * 2, group + k / 2 * 64 + r * 4, 2);
}

// Inputs [begin, end) of a row, begin a multiple of kChunk.
void pack_part(DType t, const std::byte* row, int64_t k, int r, int64_t begin, int64_t end,
               std::byte* group) {
  if (!rows16_is_block(t)) return pack_float(t, row, r, begin, end, group);
  if (is_grouped(t)) return pack_grouped(t, row, k, r, begin / 32, end / 32, group);
  const DTypeInfo& f = info(t);
  for (int64_t b = begin / f.block_elems; b < end / f.block_elems; ++b)
    pack_block(t, k, row + b * f.block_bytes, b, r, group);
}
void unpack_row(DType t, const std::byte* group, int64_t k, int r, std::byte* row) {
  if (!rows16_is_block(t)) return unpack_float(t, group, k, r, row);
  if (is_grouped(t)) return unpack_grouped(t, group, k, r, row);
  const DTypeInfo& f = info(t);
  for (int64_t b = 0; b < k / f.block_elems; ++b)
    unpack_block(t, k, group, b, r, row + b * f.block_bytes);
}

constexpr int64_t kChunk = 256;  // inputs of sixteen rows that stay in the first cache

// What no input fills: absent rows, and the padding of full ones.
void clear_padding(DType t, int64_t k, int rows, std::byte* group) {
  const size_t bytes = rows16_group_bytes(t, k);
  if (rows < kGroupRows)
    std::memset(group, 0, bytes);
  else if (rows16_is_block(t))
    std::memset(group + rows16_scales(t, k) - 64, 0, 64);
  else
    std::memset(group + bytes - 64, 0, 64);
}

}  // namespace

bool Rows16Layout::supports(DType dtype, const Shape& shape) const {
  return shape.rank() == 2 && shape[0] > 0 && shape[1] > 0 && rows16_fits(dtype, shape[1]);
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
    const int rows = static_cast<int>(std::min<int64_t>(16, row_end - g * 16));
    clear_padding(src.dtype, k, rows, group);
    for (int64_t i = 0; i < k; i += kChunk)
      for (int r = 0; r < rows; ++r)
        pack_part(src.dtype, src.row(g * 16 + r), k, r, i, std::min(i + kChunk, k), group);
  }
}

void Rows16Layout::unpack(DType dtype, const Shape& shape, const std::byte* packed,
                          std::byte* dst) const {
  const size_t row_bytes = tokamak::row_bytes(dtype, shape[1]);
  for (int64_t row = 0; row < shape[0]; ++row)
    unpack_rows16_row(dtype, packed, shape[1], row, dst + static_cast<size_t>(row) * row_bytes);
}

void unpack_rows16_row(DType dtype, const std::byte* packed, int64_t k, int64_t row,
                       std::byte* out) {
  unpack_row(dtype, packed + static_cast<size_t>(row / 16) * rows16_group_bytes(dtype, k), k,
             static_cast<int>(row % 16), out);
}

}  // namespace tokamak

#include "backend/cpu/linear/block_codes.h"

#include <cstring>

#include "base/error.h"

namespace tokamak {
namespace {

using Bytes = const uint8_t*;

uint16_t get16(Bytes p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
void put16(uint8_t* p, uint16_t v) {
  p[0] = static_cast<uint8_t>(v);
  p[1] = static_cast<uint8_t>(v >> 8);
}

// Where the parts of a 32-element block lie; -1: absent.
struct SmallBlock {
  int m, high, q;
};
SmallBlock small_block(DType t) {
  switch (t) {
    case DType::q4_0:
      return {-1, -1, 2};
    case DType::q4_1:
      return {2, -1, 4};
    case DType::q5_0:
      return {-1, 2, 6};
    case DType::q5_1:
      return {2, 4, 8};
    default:
      TOKAMAK_ASSERT_MSG(t == DType::q8_0, "dtype {}", name(t));
      return {-1, -1, 2};
  }
}

void read_small(DType t, Bytes p, BlockCodes& c) {
  const SmallBlock at = small_block(t);
  c.d = get16(p);
  c.m = at.m < 0 ? 0 : get16(p + at.m);
  if (t == DType::q8_0) {
    std::memcpy(c.q, p + at.q, 32);
    return;
  }
  for (int i = 0; i < 16; ++i) {
    c.q[i] = p[at.q + i] & 15;
    c.q[16 + i] = p[at.q + i] >> 4;
  }
  if (at.high < 0) return;
  for (int i = 0; i < 32; ++i)
    c.q[i] |= static_cast<uint8_t>((p[at.high + i / 8] >> (i % 8) & 1) << 4);
}

void write_small(DType t, const BlockCodes& c, uint8_t* p) {
  const SmallBlock at = small_block(t);
  put16(p, c.d);
  if (at.m >= 0) put16(p + at.m, c.m);
  if (t == DType::q8_0) {
    std::memcpy(p + at.q, c.q, 32);
    return;
  }
  for (int i = 0; i < 16; ++i)
    p[at.q + i] = static_cast<uint8_t>((c.q[i] & 15) | (c.q[16 + i] & 15) << 4);
  if (at.high < 0) return;
  std::memset(p + at.high, 0, 4);
  for (int i = 0; i < 32; ++i)
    p[at.high + i / 8] |= static_cast<uint8_t>((c.q[i] >> 4 & 1) << (i % 8));
}

// q4_k and q5_k: eight 6-bit scales and eight 6-bit minima in twelve bytes.
void read_six_bit(Bytes s, BlockCodes& c) {
  for (int j = 0; j < 4; ++j) {
    c.scale[j] = s[j] & 63;
    c.min[j] = s[j + 4] & 63;
    c.scale[j + 4] = static_cast<uint8_t>((s[j + 8] & 15) | s[j] >> 6 << 4);
    c.min[j + 4] = static_cast<uint8_t>(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
  }
}
void write_six_bit(const BlockCodes& c, uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = static_cast<uint8_t>(c.scale[j] | c.scale[j + 4] >> 4 << 6);
    s[j + 4] = static_cast<uint8_t>(c.min[j] | c.min[j + 4] >> 4 << 6);
    s[j + 8] = static_cast<uint8_t>((c.scale[j + 4] & 15) | (c.min[j + 4] & 15) << 4);
  }
}

void read_q45k(bool five, Bytes p, BlockCodes& c) {
  c.d = get16(p);
  c.m = get16(p + 2);
  read_six_bit(p + 4, c);
  const Bytes high = p + 16, q = p + (five ? 48 : 16);
  for (int i = 0; i < 256; ++i) {
    const int sub = i / 32, l = i % 32;
    c.q[i] = q[sub / 2 * 32 + l] >> (sub % 2 * 4) & 15;
    if (five) c.q[i] |= static_cast<uint8_t>((high[l] >> sub & 1) << 4);
  }
}
void write_q45k(bool five, const BlockCodes& c, uint8_t* p) {
  put16(p, c.d);
  put16(p + 2, c.m);
  write_six_bit(c, p + 4);
  uint8_t *high = p + 16, *q = p + (five ? 48 : 16);
  std::memset(p + 16, 0, five ? 160 : 128);
  for (int i = 0; i < 256; ++i) {
    const int sub = i / 32, l = i % 32;
    q[sub / 2 * 32 + l] |= static_cast<uint8_t>((c.q[i] & 15) << (sub % 2 * 4));
    if (five) high[l] |= static_cast<uint8_t>((c.q[i] >> 4 & 1) << sub);
  }
}

// q6_k: element 128h + 32s + l has its low bits in ql[64h + 32(s%2) + l], half s/2, and its high
// bits in qh[32h + l], pair s.
void read_q6k(Bytes p, BlockCodes& c) {
  const Bytes high = p + 128;
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, s = i / 32 % 4, l = i % 32;
    c.q[i] = static_cast<uint8_t>((p[64 * h + s % 2 * 32 + l] >> (s / 2 * 4) & 15) |
                                  (high[32 * h + l] >> (2 * s) & 3) << 4);
  }
  std::memcpy(c.scale, p + 192, 16);
  c.d = get16(p + 208);
}
void write_q6k(const BlockCodes& c, uint8_t* p) {
  std::memset(p, 0, 192);
  for (int i = 0; i < 256; ++i) {
    const int h = i / 128, s = i / 32 % 4, l = i % 32;
    p[64 * h + s % 2 * 32 + l] |= static_cast<uint8_t>((c.q[i] & 15) << (s / 2 * 4));
    p[128 + 32 * h + l] |= static_cast<uint8_t>((c.q[i] >> 4 & 3) << (2 * s));
  }
  std::memcpy(p + 192, c.scale, 16);
  put16(p + 208, c.d);
}

}  // namespace

void read_block(DType t, const std::byte* block, BlockCodes& out) {
  const auto* p = reinterpret_cast<Bytes>(block);
  if (t == DType::q6_k)
    read_q6k(p, out);
  else if (t == DType::q4_k || t == DType::q5_k)
    read_q45k(t == DType::q5_k, p, out);
  else
    read_small(t, p, out);
}

void write_block(DType t, const BlockCodes& codes, std::byte* block) {
  auto* p = reinterpret_cast<uint8_t*>(block);
  if (t == DType::q6_k)
    write_q6k(codes, p);
  else if (t == DType::q4_k || t == DType::q5_k)
    write_q45k(t == DType::q5_k, codes, p);
  else
    write_small(t, codes, p);
}

}  // namespace tokamak

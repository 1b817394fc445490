#include "backend/cpu/linear/block_codes.h"

#include <cstring>

#include "base/error.h"

namespace tokamak {
namespace {

using Bytes = const uint8_t*;

uint8_t octet(int v) { return static_cast<uint8_t>(v); }
uint16_t get16(Bytes p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
void put16(uint8_t* p, uint16_t v) {
  p[0] = octet(v);
  p[1] = octet(v >> 8);
}

// Code l of a run of n takes `bits` of in[l] at `shift` and puts them at `to` in out[l]; the other
// way put_bits. Loops of constant length: they become vectors.
template <int kBits, int kTo = 0>
void get_bits(Bytes in, int shift, int n, uint8_t* out) {
  for (int l = 0; l < n; ++l)
    out[l] = octet((kTo == 0 ? 0 : out[l]) | (in[l] >> shift & ((1 << kBits) - 1)) << kTo);
}
template <int kBits, int kFrom = 0>
void put_bits(Bytes in, int shift, int n, uint8_t* out) {
  for (int l = 0; l < n; ++l)
    out[l] = octet(out[l] | (in[l] >> kFrom & ((1 << kBits) - 1)) << shift);
}

// q5_0 and q5_1: d, with a minimum m, 32 high bits, nibbles.
void read_q5(bool min, Bytes p, BlockCodes& c) {
  c.d = get16(p);
  c.m = min ? get16(p + 2) : 0;
  const Bytes high = p + (min ? 4 : 2), q = high + 4;
  get_bits<4>(q, 0, 16, c.q);
  get_bits<4>(q, 4, 16, c.q + 16);
  for (int i = 0; i < 32; ++i) c.q[i] = octet(c.q[i] | (high[i / 8] >> (i % 8) & 1) << 4);
}
void write_q5(bool min, const BlockCodes& c, uint8_t* p) {
  std::memset(p, 0, min ? 24 : 22);
  put16(p, c.d);
  if (min) put16(p + 2, c.m);
  uint8_t *high = p + (min ? 4 : 2), *q = high + 4;
  put_bits<4>(c.q, 0, 16, q);
  put_bits<4>(c.q + 16, 4, 16, q);
  for (int i = 0; i < 32; ++i) high[i / 8] = octet(high[i / 8] | (c.q[i] >> 4 & 1) << (i % 8));
}

// q2_k: sixteen bytes of scale and minimum, 64 of codes, d, dmin. Sub-block pair s of a half lies
// at bits 2s of its 32 bytes; q3_k alike.
void read_q2k(Bytes p, BlockCodes& c) {
  for (int i = 0; i < 16; ++i) {
    c.scale[i] = p[i] & 15;
    c.min[i] = octet(p[i] >> 4);
  }
  for (int s = 0; s < 8; ++s) get_bits<2>(p + 16 + s / 4 * 32, s % 4 * 2, 32, c.q + 32 * s);
  c.d = get16(p + 80);
  c.m = get16(p + 82);
}
void write_q2k(const BlockCodes& c, uint8_t* p) {
  std::memset(p, 0, 84);
  for (int i = 0; i < 16; ++i) p[i] = octet(c.scale[i] | c.min[i] << 4);
  for (int s = 0; s < 8; ++s) put_bits<2>(c.q + 32 * s, s % 4 * 2, 32, p + 16 + s / 4 * 32);
  put16(p + 80, c.d);
  put16(p + 82, c.m);
}

// q3_k: 32 bytes of third bits, 64 of low bits, sixteen 6-bit scales (minus 32) in 12 bytes, d.
void read_q3k(Bytes p, BlockCodes& c) {
  const Bytes packed = p + 96;
  for (int i = 0; i < 16; ++i) {
    const int low = packed[i % 8] >> (i / 8 * 4) & 15;
    c.scale[i] = octet((low | (packed[8 + i % 4] >> (2 * (i / 4)) & 3) << 4) - 32);
  }
  for (int s = 0; s < 8; ++s) {
    get_bits<2>(p + 32 + s / 4 * 32, s % 4 * 2, 32, c.q + 32 * s);
    get_bits<1, 2>(p, s, 32, c.q + 32 * s);
  }
  c.d = get16(p + 108);
}
void write_q3k(const BlockCodes& c, uint8_t* p) {
  std::memset(p, 0, 110);
  uint8_t* packed = p + 96;
  for (int i = 0; i < 16; ++i) {
    const int scale = (c.scale[i] + 32) & 63;
    packed[i % 8] = octet(packed[i % 8] | (scale & 15) << (i / 8 * 4));
    packed[8 + i % 4] = octet(packed[8 + i % 4] | scale >> 4 << (2 * (i / 4)));
  }
  for (int s = 0; s < 8; ++s) {
    put_bits<2>(c.q + 32 * s, s % 4 * 2, 32, p + 32 + s / 4 * 32);
    put_bits<1, 2>(c.q + 32 * s, s, 32, p);
  }
  put16(p + 108, c.d);
}

// q4_k and q5_k: eight 6-bit scales and eight 6-bit minima in twelve bytes.
void read_six_bit(Bytes s, BlockCodes& c) {
  for (int j = 0; j < 4; ++j) {
    c.scale[j] = s[j] & 63;
    c.min[j] = s[j + 4] & 63;
    c.scale[j + 4] = octet((s[j + 8] & 15) | s[j] >> 6 << 4);
    c.min[j + 4] = octet(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
  }
}
void write_six_bit(const BlockCodes& c, uint8_t* s) {
  for (int j = 0; j < 4; ++j) {
    s[j] = octet(c.scale[j] | c.scale[j + 4] >> 4 << 6);
    s[j + 4] = octet(c.min[j] | c.min[j + 4] >> 4 << 6);
    s[j + 8] = octet((c.scale[j + 4] & 15) | (c.min[j + 4] & 15) << 4);
  }
}

void read_q45k(bool five, Bytes p, BlockCodes& c) {
  c.d = get16(p);
  c.m = get16(p + 2);
  read_six_bit(p + 4, c);
  const Bytes high = p + 16, q = p + (five ? 48 : 16);
  for (int s = 0; s < 8; ++s) {
    get_bits<4>(q + s / 2 * 32, s % 2 * 4, 32, c.q + 32 * s);
    if (five) get_bits<1, 4>(high, s, 32, c.q + 32 * s);
  }
}
void write_q45k(bool five, const BlockCodes& c, uint8_t* p) {
  std::memset(p, 0, five ? 176 : 144);
  put16(p, c.d);
  put16(p + 2, c.m);
  write_six_bit(c, p + 4);
  uint8_t *high = p + 16, *q = p + (five ? 48 : 16);
  for (int s = 0; s < 8; ++s) {
    put_bits<4>(c.q + 32 * s, s % 2 * 4, 32, q + s / 2 * 32);
    if (five) put_bits<1, 4>(c.q + 32 * s, s, 32, high);
  }
}

// q6_k: element 128h + 32s + l has its low bits in ql[64h + 32(s%2) + l], half s/2, and its high
// bits in qh[32h + l], pair s.
void read_q6k(Bytes p, BlockCodes& c) {
  for (int i = 0; i < 8; ++i) {
    const int h = i / 4, s = i % 4;
    get_bits<4>(p + 64 * h + s % 2 * 32, s / 2 * 4, 32, c.q + 32 * i);
    get_bits<2, 4>(p + 128 + 32 * h, 2 * s, 32, c.q + 32 * i);
  }
  std::memcpy(c.scale, p + 192, 16);
  c.d = get16(p + 208);
}
void write_q6k(const BlockCodes& c, uint8_t* p) {
  std::memset(p, 0, 192);
  for (int i = 0; i < 8; ++i) {
    const int h = i / 4, s = i % 4;
    put_bits<4>(c.q + 32 * i, s / 2 * 4, 32, p + 64 * h + s % 2 * 32);
    put_bits<2, 4>(c.q + 32 * i, 2 * s, 32, p + 128 + 32 * h);
  }
  std::memcpy(p + 192, c.scale, 16);
  put16(p + 208, c.d);
}

}  // namespace

void read_block(DType t, const std::byte* block, BlockCodes& out) {
  const auto* p = reinterpret_cast<Bytes>(block);
  switch (t) {
    case DType::q2_k:
      return read_q2k(p, out);
    case DType::q3_k:
      return read_q3k(p, out);
    case DType::q4_k:
    case DType::q5_k:
      return read_q45k(t == DType::q5_k, p, out);
    case DType::q6_k:
      return read_q6k(p, out);
    default:
      TOKAMAK_ASSERT_MSG(t == DType::q5_0 || t == DType::q5_1, "dtype {}", name(t));
      return read_q5(t == DType::q5_1, p, out);
  }
}

void write_block(DType t, const BlockCodes& codes, std::byte* block) {
  auto* p = reinterpret_cast<uint8_t*>(block);
  switch (t) {
    case DType::q2_k:
      return write_q2k(codes, p);
    case DType::q3_k:
      return write_q3k(codes, p);
    case DType::q4_k:
    case DType::q5_k:
      return write_q45k(t == DType::q5_k, codes, p);
    case DType::q6_k:
      return write_q6k(codes, p);
    default:
      TOKAMAK_ASSERT_MSG(t == DType::q5_0 || t == DType::q5_1, "dtype {}", name(t));
      return write_q5(t == DType::q5_1, codes, p);
  }
}

}  // namespace tokamak

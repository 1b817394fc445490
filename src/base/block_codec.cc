// Reading: every dtype to float32.
#include "base/block_codec.h"

#include <cstring>

#include "base/error.h"
#include "base/f8_row.h"
#include "base/group_codec.h"
#include "base/half.h"

namespace tokamak {
namespace {

template <typename T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

float half_at(const std::byte* p) { return f16_to_f32(load<uint16_t>(p)); }
const uint8_t* octets(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }

template <typename T>
void plain(const std::byte* in, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(load<T>(in + i * sizeof(T)));
}

void q4_0(const std::byte* b, float* y) {
  const float d = half_at(b);
  const uint8_t* q = octets(b + 2);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>((q[i] & 15) - 8);
    y[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
  }
}

void q4_1(const std::byte* b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  const uint8_t* q = octets(b + 4);
  for (int i = 0; i < 16; ++i) {
    y[i] = d * static_cast<float>(q[i] & 15) + m;
    y[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
  }
}

void q5_0(const std::byte* b, float* y) {
  const float d = half_at(b);
  const uint32_t high = load<uint32_t>(b + 2);
  const uint8_t* q = octets(b + 6);
  for (int i = 0; i < 16; ++i) {
    const int lo = (q[i] & 15) | static_cast<int>(((high >> i) & 1) << 4);
    const int hi = (q[i] >> 4) | static_cast<int>(((high >> (i + 16)) & 1) << 4);
    y[i] = d * static_cast<float>(lo - 16);
    y[i + 16] = d * static_cast<float>(hi - 16);
  }
}

void q5_1(const std::byte* b, float* y) {
  const float d = half_at(b), m = half_at(b + 2);
  const uint32_t high = load<uint32_t>(b + 4);
  const uint8_t* q = octets(b + 8);
  for (int i = 0; i < 16; ++i) {
    const int lo = (q[i] & 15) | static_cast<int>(((high >> i) & 1) << 4);
    const int hi = (q[i] >> 4) | static_cast<int>(((high >> (i + 16)) & 1) << 4);
    y[i] = d * static_cast<float>(lo) + m;
    y[i + 16] = d * static_cast<float>(hi) + m;
  }
}

void q8_0(const std::byte* b, float* y) {
  const float d = half_at(b);
  for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(load<int8_t>(b + 2 + i));
}

// 16 sub-blocks of 16: 4-bit scale and 4-bit minimum each; values of 2 bits, four per byte.
void q2_k(const std::byte* b, float* y) {
  const uint8_t* scales = octets(b);
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int i = 0; i < 16; ++i) {
    const float scale = d * static_cast<float>(scales[i] & 15);
    const float minimum = dmin * static_cast<float>(scales[i] >> 4);
    const uint8_t* q = octets(b + 16) + (i / 8) * 32 + (i % 2) * 16;
    const int shift = (i % 8) / 2 * 2;
    for (int l = 0; l < 16; ++l)
      y[i * 16 + l] = scale * static_cast<float>((q[l] >> shift) & 3) - minimum;
  }
}

// 16 sub-blocks of 16: 6-bit signed scale each; 2 low bits as in q2_k, the third bit in a mask.
void q3_k(const std::byte* b, float* y) {
  const uint8_t *mask = octets(b), *packed = octets(b + 96);
  const float d = half_at(b + 108);
  for (int i = 0; i < 16; ++i) {
    const int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
    const int high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
    const float scale = d * static_cast<float>((low | (high << 4)) - 32);
    const uint8_t* q = octets(b + 32) + (i / 8) * 32 + (i % 2) * 16;
    const uint8_t* m = mask + (i % 2) * 16;
    const int shift = (i % 8) / 2 * 2, bit = i / 2;
    for (int l = 0; l < 16; ++l) {
      const int value = ((q[l] >> shift) & 3) - ((m[l] >> bit) & 1 ? 0 : 4);
      y[i * 16 + l] = scale * static_cast<float>(value);
    }
  }
}

struct ScaleMin {
  int scale, minimum;
};
// 8 pairs of 6-bit numbers in 12 bytes (q4_k, q5_k).
ScaleMin scale_min(const uint8_t* p, int i) {
  if (i < 4) return {p[i] & 63, p[i + 4] & 63};
  return {(p[i + 4] & 15) | ((p[i - 4] >> 6) << 4), (p[i + 4] >> 4) | ((p[i] >> 6) << 4)};
}

void q4_k(const std::byte* b, float* y) {
  const float d = half_at(b), dmin = half_at(b + 2);
  for (int i = 0; i < 8; ++i) {
    const ScaleMin s = scale_min(octets(b + 4), i);
    const float scale = d * static_cast<float>(s.scale);
    const float minimum = dmin * static_cast<float>(s.minimum);
    const uint8_t* q = octets(b + 16) + i / 2 * 32;
    const int shift = i % 2 * 4;
    for (int l = 0; l < 32; ++l)
      y[i * 32 + l] = scale * static_cast<float>((q[l] >> shift) & 15) - minimum;
  }
}

void q5_k(const std::byte* b, float* y) {
  const float d = half_at(b), dmin = half_at(b + 2);
  const uint8_t* high = octets(b + 16);
  for (int i = 0; i < 8; ++i) {
    const ScaleMin s = scale_min(octets(b + 4), i);
    const float scale = d * static_cast<float>(s.scale);
    const float minimum = dmin * static_cast<float>(s.minimum);
    const uint8_t* q = octets(b + 48) + i / 2 * 32;
    const int shift = i % 2 * 4;
    for (int l = 0; l < 32; ++l) {
      const int value = ((q[l] >> shift) & 15) | (((high[l] >> i) & 1) << 4);
      y[i * 32 + l] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// 16 sub-blocks of 16 with int8 scales; 4 low bits in ql, 2 high bits in qh.
void q6_k(const std::byte* b, float* y) {
  const float d = half_at(b + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t *ql = octets(b) + half * 64, *qh = octets(b + 128) + half * 32;
    for (int part = 0; part < 4; ++part)
      for (int l = 0; l < 32; ++l) {
        const int low = (ql[l + part % 2 * 32] >> (part / 2 * 4)) & 15;
        const int value = (low | (((qh[l] >> (2 * part)) & 3) << 4)) - 32;
        const auto scale = load<int8_t>(b + 192 + half * 8 + part * 2 + l / 16);
        y[half * 128 + part * 32 + l] = d * static_cast<float>(scale) * static_cast<float>(value);
      }
  }
}

template <void (*decode)(const std::byte*, float*)>
void blocks(DType t, const std::byte* in, float* out, int64_t n) {
  const DTypeInfo& f = info(t);
  for (int64_t i = 0; i < n / f.block_elems; ++i)
    decode(in + i * f.block_bytes, out + i * f.block_elems);
}

}  // namespace

void dequantize_row(DType t, const std::byte* in, float* out, int64_t n) {
  TOKAMAK_ASSERT(n >= 0 && fits_row(t, n));
  if (group_format(t).bits > 0) return dequantize_groups(t, in, out, n);
  switch (t) {
    case DType::f32:
      std::memcpy(out, in, static_cast<size_t>(n) * 4);
      return;
    case DType::f16:
      for (int64_t i = 0; i < n; ++i) out[i] = half_at(in + 2 * i);
      return;
    case DType::bf16:
      for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_f32(load<uint16_t>(in + 2 * i));
      return;
    case DType::f64:
      return plain<double>(in, out, n);
    case DType::i8:
      return plain<int8_t>(in, out, n);
    case DType::u8:
      return plain<uint8_t>(in, out, n);
    case DType::i16:
      return plain<int16_t>(in, out, n);
    case DType::i32:
      return plain<int32_t>(in, out, n);
    case DType::i64:
      return plain<int64_t>(in, out, n);
    case DType::boolean:
      for (int64_t i = 0; i < n; ++i) out[i] = octets(in)[i] ? 1.0f : 0.0f;
      return;
    case DType::f8e4m3:
      return dequantize_f8(in, out, n);
    case DType::f8_row:
      return dequantize_f8_row(in, out, n);
    case DType::f8e5m2:
      for (int64_t i = 0; i < n; ++i)
        out[i] = f16_to_f32(static_cast<uint16_t>(octets(in)[i] << 8));
      return;
    case DType::q4_0:
      return blocks<q4_0>(t, in, out, n);
    case DType::q4_1:
      return blocks<q4_1>(t, in, out, n);
    case DType::q5_0:
      return blocks<q5_0>(t, in, out, n);
    case DType::q5_1:
      return blocks<q5_1>(t, in, out, n);
    case DType::q8_0:
      return blocks<q8_0>(t, in, out, n);
    case DType::q2_k:
      return blocks<q2_k>(t, in, out, n);
    case DType::q3_k:
      return blocks<q3_k>(t, in, out, n);
    case DType::q4_k:
      return blocks<q4_k>(t, in, out, n);
    case DType::q5_k:
      return blocks<q5_k>(t, in, out, n);
    case DType::q6_k:
      return blocks<q6_k>(t, in, out, n);
    default:
      TOKAMAK_ASSERT_MSG(false, "no decoder for {}", name(t));
  }
}

}  // namespace tokamak

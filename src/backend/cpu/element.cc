#include "backend/cpu/element.h"

#include <cstring>

#include "base/block_codec.h"
#include "base/error.h"
#include "base/f8.h"
#include "base/half.h"

namespace tokamak {
namespace {

template <typename T>
double load_as(const std::byte* row, int64_t i) {
  T v;
  std::memcpy(&v, row + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return static_cast<double>(v);
}

template <typename T>
void store_as(std::byte* row, int64_t i, T v) {
  std::memcpy(row + i * static_cast<int64_t>(sizeof(T)), &v, sizeof(T));
}

uint16_t load_u16(const std::byte* row, int64_t i) {
  uint16_t v;
  std::memcpy(&v, row + 2 * i, 2);
  return v;
}

}  // namespace

bool is_scalar_dtype(DType t) {
  return !is_block_format(t) && t != DType::f8e4m3 && t != DType::f8e5m2;
}

double load_element(DType t, const std::byte* row, int64_t i) {
  switch (t) {
    case DType::f32:
      return load_as<float>(row, i);
    case DType::f16:
      return f16_to_f32(load_u16(row, i));
    case DType::bf16:
      return bf16_to_f32(load_u16(row, i));
    case DType::f64:
      return load_as<double>(row, i);
    case DType::f8e4m3:
      return f8e4m3_to_f32(std::to_integer<uint8_t>(row[i]));
    case DType::i8:
      return load_as<int8_t>(row, i);
    case DType::u8:
    case DType::boolean:
      return load_as<uint8_t>(row, i);
    case DType::i16:
      return load_as<int16_t>(row, i);
    case DType::i32:
      return load_as<int32_t>(row, i);
    case DType::i64:
      return load_as<int64_t>(row, i);
    default:
      TOKAMAK_ASSERT_MSG(false, "dtype {}", name(t));
  }
  return 0;
}

void store_element(DType t, std::byte* row, int64_t i, double v) {
  switch (t) {
    case DType::f32:
      return store_as(row, i, static_cast<float>(v));
    case DType::f16:
      return store_as(row, i, f32_to_f16(static_cast<float>(v)));
    case DType::bf16:
      return store_as(row, i, f32_to_bf16(static_cast<float>(v)));
    case DType::f64:
      return store_as(row, i, v);
    case DType::f8e4m3:
      return store_as(row, i, f32_to_f8e4m3(static_cast<float>(v)));
    case DType::i8:
      return store_as(row, i, static_cast<int8_t>(v));
    case DType::u8:
      return store_as(row, i, static_cast<uint8_t>(v));
    case DType::boolean:
      return store_as(row, i, static_cast<uint8_t>(v != 0));
    case DType::i16:
      return store_as(row, i, static_cast<int16_t>(v));
    case DType::i32:
      return store_as(row, i, static_cast<int32_t>(v));
    case DType::i64:
      return store_as(row, i, static_cast<int64_t>(v));
    default:
      TOKAMAK_ASSERT_MSG(false, "dtype {}", name(t));
  }
}

void load_row(DType t, const std::byte* row, int64_t n, float* out) {
  dequantize_row(t, row, out, n);
}

}  // namespace tokamak

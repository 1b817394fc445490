#include "engine/kv_layout.h"

#include <array>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr std::array kKvDTypes = {DType::f32, DType::f16, DType::bf16, DType::int8_row,
                                  DType::f8e4m3};

}  // namespace

bool is_kv_dtype(DType t) {
  for (const DType known : kKvDTypes)
    if (t == known) return true;
  return false;
}

std::string_view kv_dtype_name(DType t) {
  if (t == DType::f8e4m3) return "fp8";
  return t == DType::int8_row ? "int8" : info(t).long_name;
}

DType parse_kv_dtype(std::string_view text) {
  for (const DType t : kKvDTypes)
    if (text == kv_dtype_name(t) || text == name(t)) return t;
  fail("--kv_cache_dtype is '{}', expected auto, float32, float16, bfloat16, int8 or fp8", text);
}

}  // namespace tokamak

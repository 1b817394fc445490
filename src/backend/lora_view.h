// The adapters of a step, as kernels see them (ops/lora.h). Plain data in device memory.
#pragma once
#include <cstdint>

#include "base/dtype.h"

namespace tokamak {

// Rows are padded with zeros to multiples of kLoraPad elements and lie one behind the other.
inline constexpr int64_t kLoraPad = 32;
constexpr int64_t lora_padded(int64_t n) { return (n + kLoraPad - 1) / kLoraPad * kLoraPad; }

// One linear's A [rank][k] and B, transposed: [rank][n]. rank 0: the adapter leaves it alone.
struct LoraPart {
  const void *a = nullptr, *b = nullptr;
  float scale = 0;
  int32_t rank = 0;
  DType dtype = DType::f32;  // f32, f16 or bf16
};

struct LoraView {
  const LoraPart* parts = nullptr;  // [adapters][part_count]
  int32_t part_count = 0;
  const int32_t* adapters = nullptr;  // [tokens]: an adapter's number, or -1
};

}  // namespace tokamak

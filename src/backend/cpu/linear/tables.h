// The table of linear kernels of the including ISA level.
#pragma once
#include "backend/cpu/linear/finish.h"
#include "backend/cpu/linear/float_tile.h"
#include "backend/cpu/linear/int8_tile.h"

namespace tokamak {
namespace {

#if defined(__AVX512F__)
#define TOKAMAK_FLOAT_TILES(f) \
  {1, 2, 4, 8, 16, 24}, { f(1), f(2), f(4), f(8), f(16), f(24) }
#define TOKAMAK_INT8_TILES(f) \
  {1, 2, 4, 8, 12}, { f(1), f(2), f(4), f(8), f(12) }
#else
#define TOKAMAK_FLOAT_TILES(f) \
  {1, 2, 4, 6}, { f(1), f(2), f(4), f(6) }
#define TOKAMAK_INT8_TILES(f) \
  {1, 2, 4}, { f(1), f(2), f(4) }
#endif

template <DType D>
constexpr LinearKernels float_kernels() {
#define TOKAMAK_TILE(w) float_tile<D, w>
  return {TOKAMAK_FLOAT_TILES(TOKAMAK_TILE), pack_f32, finish, 0};
#undef TOKAMAK_TILE
}
constexpr LinearKernels bf16_kernels() {
#define TOKAMAK_TILE(w) bf16_tile<w>
  return {TOKAMAK_FLOAT_TILES(TOKAMAK_TILE), pack_f32, finish, 0};
#undef TOKAMAK_TILE
}
template <DType D>
constexpr LinearKernels int8_kernels() {
#define TOKAMAK_TILE(w) int8_tile<D, w>
  return {TOKAMAK_INT8_TILES(TOKAMAK_TILE), pack_int8<D>, finish, Format<D>::kSub};
#undef TOKAMAK_TILE
}

template <DType D>
[[maybe_unused]] const LinearKernels* int8_table() {
  static constexpr LinearKernels kTable = int8_kernels<D>();
  return &kTable;
}

[[maybe_unused]] const LinearKernels* int8_kernels_for(DType weight) {
  switch (weight) {
    case DType::q4_0:
      return int8_table<DType::q4_0>();
    case DType::q4_1:
      return int8_table<DType::q4_1>();
    case DType::q5_0:
      return int8_table<DType::q5_0>();
    case DType::q5_1:
      return int8_table<DType::q5_1>();
    case DType::q8_0:
      return int8_table<DType::q8_0>();
    case DType::q4_k:
      return int8_table<DType::q4_k>();
    case DType::q5_k:
      return int8_table<DType::q5_k>();
    case DType::q6_k:
      return int8_table<DType::q6_k>();
    default:
      return nullptr;
  }
}

[[maybe_unused]] const LinearKernels* float_kernels_for(DType weight) {
  static constexpr LinearKernels kF32 = float_kernels<DType::f32>(),
                                 kF16 = float_kernels<DType::f16>(), kBf16 = bf16_kernels();
  switch (weight) {
    case DType::f32:
      return &kF32;
    case DType::f16:
      return &kF16;
    case DType::bf16:
      return &kBf16;
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace tokamak

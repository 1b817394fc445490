// The table of linear kernels of the including ISA level.
#pragma once
#include "backend/cpu/linear/finish.h"
#include "backend/cpu/linear/float_tile.h"
#include "backend/cpu/linear/integer_tile.h"

namespace tokamak {
namespace {

// Widths whose sums fit the registers; wider ones gain nothing.
#if defined(__AVX512F__)
#define TOKAMAK_FLOAT_TILES(f) \
  {1, 2, 4, 8}, { f(1), f(2), f(4), f(8) }
#define TOKAMAK_INTEGER_TILES(f) TOKAMAK_FLOAT_TILES(f)
#else
#define TOKAMAK_FLOAT_TILES(f) \
  {1, 2, 4, 6}, { f(1), f(2), f(4), f(6) }
#define TOKAMAK_INTEGER_TILES(f) \
  {1, 2, 4}, { f(1), f(2), f(4) }
#endif

template <DType D>
constexpr LinearKernels float_kernels() {
#define TOKAMAK_TILE(w) float_tile<D, w, kSums<w>>
  return {TOKAMAK_FLOAT_TILES(TOKAMAK_TILE),
          {float_tile<D, 1, 1>, float_tile<D, 2, 1>},
          pack_f32,
          finish};
#undef TOKAMAK_TILE
}
constexpr LinearKernels bf16_kernels() {
#define TOKAMAK_TILE(w) bf16_tile<w, kSums<w>>
  return {TOKAMAK_FLOAT_TILES(TOKAMAK_TILE), {bf16_tile<1, 1>, bf16_tile<2, 1>}, pack_f32, finish};
#undef TOKAMAK_TILE
}
template <DType D>
constexpr LinearKernels int8_kernels() {
#define TOKAMAK_TILE(w) integer_tile<D, w, 1>
  return {
      TOKAMAK_INTEGER_TILES(TOKAMAK_TILE), {}, pack_integers<D, 1>, finish, integer_words<D, 1>};
#undef TOKAMAK_TILE
}
template <DType D>
constexpr LinearKernels int16_kernels() {
#define TOKAMAK_TILE(w) integer_tile<D, w, 2>
  return {
      TOKAMAK_INTEGER_TILES(TOKAMAK_TILE), {}, pack_integers<D, 2>, finish, integer_words<D, 2>};
#undef TOKAMAK_TILE
}

template <DType D, int G>
[[maybe_unused]] const LinearKernels* integer_table() {
  static constexpr LinearKernels kTable = G == 2 ? int16_kernels<D>() : int8_kernels<D>();
  return &kTable;
}

// Activations of G bytes.
template <int G>
[[maybe_unused]] const LinearKernels* integer_kernels_for(DType weight) {
  switch (weight) {
    case DType::q4_0:
    case DType::int4_g64:
    case DType::int4_g128:
    case DType::int4_row:
      return integer_table<DType::q4_0, G>();
    case DType::q4_1:
    case DType::int4a_g64:
    case DType::int4a_g128:
    case DType::int4a_row:
      return integer_table<DType::q4_1, G>();
    case DType::q8_0:
    case DType::int8_g64:
    case DType::int8_g128:
    case DType::int8_row:
      return integer_table<DType::q8_0, G>();
    case DType::int8a_g32:
    case DType::int8a_g64:
    case DType::int8a_g128:
    case DType::int8a_row:
      return integer_table<DType::int8a_g32, G>();
    case DType::q5_0:
      return integer_table<DType::q5_0, G>();
    case DType::q5_1:
      return integer_table<DType::q5_1, G>();
    case DType::q2_k:
      return integer_table<DType::q2_k, G>();
    case DType::q3_k:
      return integer_table<DType::q3_k, G>();
    case DType::q4_k:
      return integer_table<DType::q4_k, G>();
    case DType::q5_k:
      return integer_table<DType::q5_k, G>();
    case DType::q6_k:
      return integer_table<DType::q6_k, G>();
    default:
      return nullptr;
  }
}
[[maybe_unused]] const LinearKernels* integer_kernels_for(DType weight, LinearMath math) {
  if (math == LinearMath::int16) return integer_kernels_for<2>(weight);
  return math == LinearMath::int8 ? integer_kernels_for<1>(weight) : nullptr;
}

[[maybe_unused]] const LinearKernels* float_kernels_for(DType weight) {
  static constexpr LinearKernels kF32 = float_kernels<DType::f32>(),
                                 kF16 = float_kernels<DType::f16>(), kBf16 = bf16_kernels(),
                                 kF8 = float_kernels<DType::f8_row>();
  switch (weight) {
    case DType::f32:
      return &kF32;
    case DType::f16:
      return &kF16;
    case DType::bf16:
      return &kBf16;
    case DType::f8_row:
      return &kF8;
    default:
      return nullptr;
  }
}

}  // namespace
}  // namespace tokamak

// How FP8 weights lie on the device, and rows of activations that meet them: what packs them on
// the host and what reads them on the device agree here.
// Weights [n, k] (layout "cuda.f8"): n rows of k e4m3 codes, then from a multiple of 256 on float32
// scales [n]. In every 64 columns the order is the one in which a warp's lanes hold the A operand
// of m16n8k16: lane t of four has 16 bytes, four for each 16 columns c: 2t, 2t + 1, 2t + 8, 2t + 9.
// A product over k does not see the order as long as both sides have it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tokamak::cuda {

struct F8Format {
  static constexpr int kColumns = 64;  // k must divide by it

  // Where column c of 64 lies.
  static constexpr int place_of(int c) {
    return c % 8 / 2 * 16 + c / 16 * 4 + c % 16 / 8 * 2 + c % 2;
  }
  static constexpr size_t scales_at(int64_t n, int64_t k) {
    return (static_cast<size_t>(n * k) + 255) & ~size_t{255};
  }
  static constexpr size_t bytes(int64_t n, int64_t k) {
    return scales_at(n, k) + static_cast<size_t>(n) * sizeof(float);
  }
};

}  // namespace tokamak::cuda

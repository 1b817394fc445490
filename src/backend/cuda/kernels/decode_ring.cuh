// The ring of tiles that a warp of the decode kernel has in shared memory, each of kDecodeTile keys
// and as many values: where their rows lie, and how products read them.
#pragma once
#include "backend/cuda/kernels/decode_work.cuh"

namespace tokamak::cuda {
namespace {

// Where 16-byte chunk `chunk` of a row lies, so that the reads below meet no bank conflicts.
template <int ROW_BYTES>
__device__ inline int k_chunk(int row, int chunk) {
  return chunk ^ (ROW_BYTES >= 128 ? (row & 1) << 2 : (row & 1) << 1);
}
template <int ROW_BYTES>
__device__ inline int v_chunk(int row, int chunk) {
  return chunk ^ ((row >> 1 & 3) << 1 & (ROW_BYTES / 16 - 1));
}

template <int HD, Kv KV>
struct TileRing {
  static constexpr int kBytes = KV == Kv::f16 || KV == Kv::bf16 ? 2 : 1;
  static constexpr int kRow = HD * kBytes + (KV == Kv::int8 ? 2 : 0);  // in shared memory, at most
  static constexpr int kTileBytes = kTile * kRow;                      // of K, and of V
  static constexpr int kStages = HD * kBytes <= 128 ? 4 : 2;
  static constexpr int kWarpBytes = kStages * 2 * kTileBytes;
  static constexpr int kNewPitch = (kRow + 15) / 16 * 16;  // from a row of this step to the next

  // Eight elements of a row, from 32 * c + 8 * t, as four words.
  __device__ static void k_words(const AttentionArg& a, int lane, const uint8_t* tile, int row,
                                 int c, uint32_t (&w)[4]) {
    const int t = lane % 4;
    if constexpr (KV == Kv::int8) {
      const uint8_t* p = tile + row * kv_pitch<KV>(a) + 2 + 32 * c + 8 * t;
      codes8<false>(a, p, 32 * c + 8 * t, w);
    } else if constexpr (KV == Kv::f8) {
      const int at = 32 * c + 8 * t;
      f8x8(tile + row * HD + k_chunk<HD>(row, at / 16) * 16 + at % 16, w);
    } else {
      const uint4 v = *reinterpret_cast<const uint4*>(tile + row * HD * 2 +
                                                      k_chunk<HD * 2>(row, 4 * c + t) * 16);
      w[0] = v.x, w[1] = v.y, w[2] = v.z, w[3] = v.w;
    }
  }
  // Eight elements of a row, from d.
  __device__ static void v_words(const AttentionArg& a, const uint8_t* tile, int row, int d,
                                 uint32_t (&w)[4]) {
    if constexpr (KV == Kv::int8) {
      codes8<true>(a, tile + row * kv_pitch<KV>(a) + 2 + d, d, w);
    } else if constexpr (KV == Kv::f8) {
      f8x8(tile + row * HD + v_chunk<HD>(row, d / 16) * 16 + d % 16, w);
    } else {
      const uint4 v =
          *reinterpret_cast<const uint4*>(tile + row * HD * 2 + v_chunk<HD * 2>(row, d / 8) * 16);
      w[0] = v.x, w[1] = v.y, w[2] = v.z, w[3] = v.w;
    }
  }
  __device__ static float row_scale(const AttentionArg& a, const uint8_t* tile, int row) {
    const auto* p = reinterpret_cast<const uint16_t*>(tile + row * kv_pitch<KV>(a));
    return __half2float(__ushort_as_half(*p));
  }

 private:
  template <bool BF16>
  __device__ static void codes8(const AttentionArg& a, const uint8_t* p, int d, uint32_t (&w)[4]) {
    const bool some = d < a.head_dim;
    const auto* h = reinterpret_cast<const uint16_t*>(p);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t codes = some ? h[2 * i] | uint32_t{h[2 * i + 1]} << 16 : 0;
      w[2 * i] = widen_int8<BF16>(codes, 0);
      w[2 * i + 1] = widen_int8<BF16>(codes, 1);
    }
  }
  __device__ static void f8x8(const uint8_t* p, uint32_t (&w)[4]) {
    const uint2 v = *reinterpret_cast<const uint2*>(p);
    w[0] = widen_f8(static_cast<uint16_t>(v.x));
    w[1] = widen_f8(static_cast<uint16_t>(v.x >> 16));
    w[2] = widen_f8(static_cast<uint16_t>(v.y));
    w[3] = widen_f8(static_cast<uint16_t>(v.y >> 16));
  }
};

}  // namespace
}  // namespace tokamak::cuda

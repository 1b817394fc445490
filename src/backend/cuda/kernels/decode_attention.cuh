// A block of four warps owns one KV head of one sequence, up to kDecodeRows query rows and one part
// of the context. Each warp walks its own tiles of 16 keys, copied into its own ring of shared
// memory, so that warps meet only at the end: S^T = K Q^T and O^T = V^T P^T on tensor cores, with
// the dimensions in an order that lets 16-byte reads serve as operands. Parts of a head join
// through a cluster's shared memory, or through memory and a second kernel.
#pragma once
#include <algorithm>

#include "backend/cuda/kernels/alibi.cuh"
#include "backend/cuda/kernels/attention_parts.cuh"
#include "backend/cuda/kernels/cluster.cuh"
#include "backend/cuda/kernels/decode_attention.h"
#include "backend/cuda/kernels/decode_join.cuh"
#include "backend/cuda/kernels/decode_ring.cuh"

namespace tokamak::cuda {
namespace {

template <int HD, int NT, Kv KV>
class Decoder {
  using R = TileRing<HD, KV>;
  static constexpr int kRows = 8 * NT, kStages = R::kStages;
  static constexpr bool kQInRegisters = HD * NT <= 256;
  static constexpr int kQueries = NT == 1 ? kFewQueries : kDecodeRows;

 public:
  // In shared memory: the warps' rings; q; this step's rows of K and V; a float row per warp.
  static constexpr size_t kRingBytes = size_t{kWarps} * R::kWarpBytes;
  static constexpr size_t kJoinBytes = sizeof(float) * kWarps * kRows * (HD + 4);
  static constexpr size_t kQAt = (kRingBytes > kJoinBytes ? kRingBytes : kJoinBytes);
  static constexpr size_t kNewAt = kQAt + size_t{kRows} * HD * 2;
  static constexpr size_t kNewBytes = size_t{kQueries} * 2 * R::kNewPitch;
  static constexpr size_t kFloatsAt = kNewAt + kNewBytes;
  static constexpr size_t kAnglesAt = kFloatsAt + sizeof(float) * kWarps * HD;
  static constexpr size_t kSharedBytes = kAnglesAt + sizeof(float2) * kQueries * HD / 2;

  __device__ Decoder(const AttentionArg& a, const StepArg& step, const DecodeSplit& split,
                     uint8_t* memory)
      : a_(a), step_(step), split_(split), memory_(memory) {
    seq_ = static_cast<int>(blockIdx.x) / a.kv_heads;
    kv_head_ = static_cast<int>(blockIdx.x) % a.kv_heads;
    part_ = static_cast<int>(blockIdx.y);
    row_from_ = static_cast<int>(blockIdx.z) * kRows;
    group_ = a.heads / a.kv_heads;
    warp_ = static_cast<int>(threadIdx.x) / 32;
    lane_ = static_cast<int>(threadIdx.x) % 32;
    ring_ = memory + warp_ * R::kWarpBytes;
  }

  // The first blocks on a multiprocessor go through the work once without any, while the kernel
  // before still runs: so its instructions are at hand, which other kernels' weights have driven
  // out of the caches since the last layer.
  __device__ void run() {
    let_next_start();
    if (split_.clustered) cluster_arrive();
    RawHead<HD> raw;
    int fresh_block = 0;
#pragma unroll 1
    for (int turn = is_early() ? 0 : 1; turn < 2; ++turn) {
      const bool rehearsal = turn == 0;
      if (rehearsal)
        rehearse(raw);
      else if (!begin(raw, fresh_block))
        return;  // all blocks of a cluster alike
      load_heads(raw, fresh_block, rehearsal);
      __syncthreads();
      walk(rehearsal);
      join_warps(rehearsal);
      if (rehearsal) __syncthreads();
    }
    join_parts();
  }

 private:
  __device__ bool is_early() const {
    return blockIdx.x + blockIdx.y * gridDim.x + blockIdx.z * gridDim.x * gridDim.y <
           static_cast<unsigned>(split_.multiprocessors);
  }
  // As for one query of a context of one token, whatever lies in memory.
  __device__ void rehearse(RawHead<HD>& raw) {
    fresh_ = rows_ = 1;
#pragma unroll
    for (int i = 0; i < HD / 32; ++i) raw.v[i] = 0;
    clear_q();
    __syncthreads();
  }
  // What does not depend on the kernel before, or seldom does, is fetched ahead of it and asked for
  // again after it: where the step turned out to be another one, all is done anew. False: there is
  // nothing to do.
  __device__ bool begin(RawHead<HD>& raw, int& fresh_block) {
    const Numbers early = read_numbers(step_, seq_);
    set({});
    if (a_.block_size % kTile == 0 && early.length <= step_.max_context &&
        early.queries() <= early.length && early.queries() <= step_.max_queries &&
        early.end <= step_.tokens && takes(early))
      set(early);
    int block = my_block(), position = my_position();
    fresh_block = my_fresh_block();
    start_tiles(block);
    make_angles(position);
    clear_q();
    wait_for_previous();
    const Numbers now = read_numbers(step_, seq_);
    const int block_now = my_block(), fresh_now = my_fresh_block(), position_now = my_position();
    load_raw(warp_, raw);
    const bool same = now == n_ && fresh_now == fresh_block;
    if (!__all_sync(0xffffffffu, same && block_now == block)) {
      wait_copies<0>();
      __syncwarp();
      set(takes(now) ? now : Numbers{});
      start_tiles(my_block());
      fresh_block = my_fresh_block();
      load_raw(warp_, raw);
    }
    if (__syncthreads_or(!same || position_now != position)) make_angles(my_position());
    if (n_.queries() > 0) return true;
    wait_copies<0>();
    return false;
  }
  __device__ bool takes(const Numbers& n) const {
    return n.queries() > 0 && is_decode(n.queries(), group_) && row_from_ < n.queries() * group_;
  }
  __device__ void set(const Numbers& n) {
    n_ = n;
    tiles_ = tiles_of(a_, split_, n, part_);
    new_from_ = max(n.past(), tiles_.from * kTile);
    fresh_ = max(0, min(n.length, tiles_.to * kTile) - new_from_);
    rows_ = min(n.queries() * group_ - row_from_, kRows);
  }
  __device__ void block_and_rest(int j, int& block, int& rest) const {
    block = split_.block_shift >= 0 ? j >> split_.block_shift : j / a_.block_size;
    rest = j - block * a_.block_size;
  }
  __device__ int tile_of(int i) const { return tiles_.from + warp_ + i * kWarps; }
  __device__ int block_at(int j) const {
    int block, rest;
    block_and_rest(j, block, rest);
    return load_fresh(step_.block_table + int64_t{seq_} * step_.block_table_stride + block);
  }
  // Bytes from a pool's begin to key j, which lies in `block`.
  __device__ int64_t row_in(int block, int j) const {
    int unused, rest;
    block_and_rest(j, unused, rest);
    return (int64_t{block * a_.kv_heads + kv_head_} * a_.block_size + rest) * kv_pitch<KV>(a_);
  }

  // Of the ring's first tiles: lane i asks where tile i lies.
  __device__ int my_block() const {
    const int j = tile_of(lane_) * kTile;
    return lane_ < kStages && tile_of(lane_) < tiles_.to && j < n_.past() ? block_at(j) : -1;
  }
  // Of this step's keys of this part: lane i asks where key i goes.
  __device__ int my_fresh_block() const {
    return lane_ < fresh_ ? block_at(new_from_ + lane_) : -1;
  }
  __device__ void start_tiles(int block) {
    for (int i = 0; i < kStages; ++i) start_tile(i, __shfl_sync(0xffffffffu, block, i));
  }
  // Of the step's tokens of this sequence: thread i asks for token i's.
  __device__ int my_position() const {
    const int i = static_cast<int>(threadIdx.x);
    return a_.has_rope && i < n_.queries() ? load_fresh(a_.positions + n_.begin + i) : 0;
  }
  // cos and sin of every token's pairs; `position`: of token threadIdx.x.
  __device__ void make_angles(int position) {
    if (!a_.has_rope) return;
    auto* positions = reinterpret_cast<int*>(memory_ + kFloatsAt);  // heads come later
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < n_.queries()) positions[threadIdx.x] = position;
    __syncthreads();
    const int half = a_.rope.rotary_dim / 2;
    for (int q = 0; q < n_.queries(); ++q)
      for (int i = threadIdx.x; i < half; i += kThreads)
        angles()[q * half + i] = angle_of(a_, n_.length, positions[q], i);
    __syncthreads();
  }
  __device__ float2* angles() const { return reinterpret_cast<float2*>(memory_ + kAnglesAt); }

  // Tile i of this warp into its place in the ring: past keys only, zeros for the others.
  __device__ void start_tile(int i, int block) {
    const int tile = tile_of(i);
    if (tile < tiles_.to) {
      uint8_t* to = ring_ + i % kStages * 2 * R::kTileBytes;
      if constexpr (KV == Kv::int8)
        copy_codes(tile * kTile, to);
      else
        copy_rows(tile * kTile, block, to);
    }
    commit_copies();
  }
  __device__ void copy_rows(int j0, int block, uint8_t* to) {
    constexpr int kRowBytes = HD * R::kBytes, kChunks = kRowBytes / 16;
    constexpr int kRowsAtOnce = kChunks >= 32 ? 1 : 32 / kChunks;
    const int chunk = lane_ % kChunks, used = a_.head_dim * R::kBytes / 16, past = n_.past();
    const bool one_block = a_.block_size % kTile == 0;
    const int64_t pitch = kv_pitch<KV>(a_);
    const int64_t first = one_block && j0 < past ? row_in(block, j0) : 0;
#pragma unroll
    for (int r = 0; r < kTile; r += kRowsAtOnce) {
      const int row = r + lane_ / kChunks, j = j0 + row;
      const bool valid = j < past && chunk < used;
      int64_t from = 0;
      if (valid)
        from = (one_block ? first + row * pitch : kv_row<KV>(a_, step_, seq_, kv_head_, j)) +
               chunk * 16;
      copy16_async(to + row * kRowBytes + k_chunk<kRowBytes>(row, chunk) * 16, a_.k_cache + from,
                   valid);
      copy16_async(to + R::kTileBytes + row * kRowBytes + v_chunk<kRowBytes>(row, chunk) * 16,
                   a_.v_cache + from, valid);
    }
  }
  // Rows of int8 do not begin at multiples of 16 bytes, eight together do.
  __device__ void copy_codes(int j0, uint8_t* to) {
    const int pitch = kv_pitch<KV>(a_), past = n_.past();
    for (int j = j0; j < j0 + kTile; j += 8) {
      if (j >= past) break;
      const int64_t from = kv_row<KV>(a_, step_, seq_, kv_head_, j);
      for (int at = lane_ * 16; at < 8 * pitch; at += 512) {
        copy16_async(to + (j - j0) * pitch + at, a_.k_cache + from + at, true);
        copy16_async(to + R::kTileBytes + (j - j0) * pitch + at, a_.v_cache + from + at, true);
      }
    }
  }

  // Heads that this block needs: this step's keys and values of its part, which also enter the
  // cache, then q's rows; item i goes to warp i % kWarps.
  __device__ void load_raw(int i, RawHead<HD>& raw) const {
    if (i < 2 * fresh_) {
      raw.load(a_, i % 2 == 1 ? a_.v : a_.k, n_.begin + new_from_ - n_.past() + i / 2, kv_head_);
    } else if (i - 2 * fresh_ < rows_) {
      const int row = row_from_ + i - 2 * fresh_;
      raw.load(a_, a_.q, n_.begin + row / group_, kv_head_ * group_ + row % group_);
    }
  }
  __device__ void load_heads(RawHead<HD>& raw, int fresh_block, bool rehearsal) {
    float* head = reinterpret_cast<float*>(memory_ + kFloatsAt) + warp_ * HD;
    const int half = a_.rope.rotary_dim / 2;
    for (int i = warp_; i < 2 * fresh_ + rows_; i += kWarps) {
      if (i > warp_ && !rehearsal) load_raw(i, raw);
      const int r = i - 2 * fresh_;
      if (r >= 0) {
        warp_head(a_, raw, a_.q_weight,
                  a_.has_rope ? angles() + (row_from_ + r) / group_ * half : nullptr, head);
        store_q(r, head);
      } else {
        const int j = new_from_ + i / 2;
        const bool value = i % 2 == 1, turn = !value && a_.has_rope;
        const int64_t row = row_in(__shfl_sync(0xffffffffu, fresh_block, i / 2), j);
        warp_head(a_, raw, value ? RowsArg{} : a_.k_weight,
                  turn ? angles() + (j - n_.past()) * half : nullptr, head);
        warp_store_row<KV>(
            a_, head, value ? a_.v_scale : a_.k_scale, new_row(i / 2, value),
            blockIdx.z > 0 || rehearsal ? nullptr : (value ? a_.v_cache : a_.k_cache) + row);
      }
      __syncwarp();
    }
  }
  __device__ void store_q(int r, const float* head) {
    uint8_t* to = memory_ + kQAt + r * HD * 2;
    for (int d = 2 * lane_; d < a_.head_dim; d += 64)
      *reinterpret_cast<uint32_t*>(to + k_chunk<HD * 2>(r, d / 8) * 16 + d % 8 * 2) =
          pack2<kBf16Keys<KV>>(head[d], head[d + 1]);
  }
  __device__ void clear_q() {  // rows and columns that stay empty count zero
    for (int i = threadIdx.x; i < kRows * HD / 8; i += kThreads)
      reinterpret_cast<uint4*>(memory_ + kQAt)[i] = uint4{0, 0, 0, 0};
  }
  __device__ uint8_t* new_row(int n, bool value) const {
    return memory_ + kNewAt + (2 * n + value) * R::kNewPitch;
  }
  __device__ uint4 q_chunk(int nt, int c) const {
    const int g = lane_ / 4, t = lane_ % 4, row = 8 * nt + g;
    return *reinterpret_cast<const uint4*>(memory_ + kQAt + row * HD * 2 +
                                           k_chunk<HD * 2>(row, 4 * c + t) * 16);
  }

  // This step's rows into the tile that they belong to; zeros after them.
  __device__ void patch(int j0, uint8_t* tile) const {
    const int past = n_.past();
    if (j0 + kTile <= past) return;
    if constexpr (KV == Kv::int8) {
      const int pitch = kv_pitch<KV>(a_);
      for (int j = max(j0, past); j < j0 + kTile; ++j)
        for (int value = 0; value < 2; ++value)
          for (int at = 2 * lane_; at < pitch; at += 64)
            *reinterpret_cast<uint16_t*>(tile + value * R::kTileBytes + (j - j0) * pitch + at) =
                j < n_.length
                    ? *reinterpret_cast<const uint16_t*>(new_row(j - new_from_, value) + at)
                    : 0;
    } else {
      constexpr int kRowBytes = HD * R::kBytes;
      const int used = a_.head_dim * R::kBytes / 16;
      for (int j = max(j0, past); j < min(j0 + kTile, n_.length); ++j)
        for (int i = lane_; i < 2 * used; i += 32) {
          const bool value = i >= used;
          const int chunk = value ? i - used : i, row = j - j0;
          const int place = value ? v_chunk<kRowBytes>(row, chunk) : k_chunk<kRowBytes>(row, chunk);
          *reinterpret_cast<uint4*>(tile + value * R::kTileBytes + row * kRowBytes + place * 16) =
              *reinterpret_cast<const uint4*>(new_row(j - new_from_, value) + chunk * 16);
        }
    }
    __syncwarp();
  }

  __device__ void clear_sums() {
    const int t = lane_ % 4;
#pragma unroll
    for (int nt = 0; nt < NT; ++nt)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        max_[nt][i] = -INFINITY;
        sum_[nt][i] = 0;
        const int row = row_from_ + 8 * nt + 2 * t + i;
        last_[nt][i] = n_.past() + row / group_;
      }
#pragma unroll
    for (int nt = 0; nt < NT; ++nt)
#pragma unroll
      for (int m = 0; m < HD / 16; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) out_[nt][m][i] = 0;
  }
  // This warp's tiles; a rehearsal takes whatever lies where the first one would.
  __device__ void walk(bool rehearsal) {
    const int g = lane_ / 4;
    uint4 q[kQInRegisters ? NT : 1][HD / 32];
    if constexpr (kQInRegisters)
      for (int nt = 0; nt < NT; ++nt)
        for (int c = 0; c < HD / 32; ++c) q[nt][c] = q_chunk(nt, c);
    clear_sums();
    for (int i = 0; rehearsal ? i < 1 : tile_of(i) < tiles_.to; ++i) {
      const int next = tile_of(i + kStages) * kTile;  // whose place is asked for well ahead
      const int block =
          !rehearsal && tile_of(i + kStages) < tiles_.to && next < n_.past() ? block_at(next) : 0;
      wait_copies<kStages - 1>();
      __syncwarp();
      uint8_t* tile = ring_ + i % kStages * 2 * R::kTileBytes;
      const int j0 = tile_of(i) * kTile;
      patch(j0, tile);

      float s[NT][4] = {}, more[NT][4] = {};  // two chains
#pragma unroll
      for (int c = 0; c < HD / 32; ++c) {
        uint32_t ka[4], kb[4];
        R::k_words(a_, lane_, tile, g, c, ka);
        R::k_words(a_, lane_, tile, g + 8, c, kb);
#pragma unroll
        for (int nt = 0; nt < NT; ++nt) {
          const uint4 b = kQInRegisters ? q[nt][c] : q_chunk(nt, c);
          mma<kBf16Keys<KV>>(s[nt], ka[0], kb[0], ka[1], kb[1], b.x, b.y);
          mma<kBf16Keys<KV>>(more[nt], ka[2], kb[2], ka[3], kb[3], b.z, b.w);
        }
      }
#pragma unroll
      for (int nt = 0; nt < NT; ++nt)
#pragma unroll
        for (int e = 0; e < 4; ++e) s[nt][e] += more[nt][e];
      uint32_t p[NT][2];
      soften(tile, j0, s, p);
      add_values(tile + R::kTileBytes, p);
      __syncwarp();
      if (!rehearsal) start_tile(i + kStages, block);
    }
    wait_copies<0>();
#pragma unroll
    for (int nt = 0; nt < NT; ++nt)
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int d = 4; d < 32; d *= 2) sum_[nt][i] += __shfl_xor_sync(0xffffffffu, sum_[nt][i], d);
  }

  __device__ int head_of(int row) const { return kv_head_ * group_ + row % group_; }

  // Scores of keys j0 + g and + 8 for rows 2t and 2t + 1 to probabilities, as operands.
  __device__ void soften(const uint8_t* tile, int j0, float (&s)[NT][4], uint32_t (&p)[NT][2]) {
    const int g = lane_ / 4;
    float k_scale[2] = {a_.k_scale, a_.k_scale}, v_scale[2] = {1, 1};
    if constexpr (KV == Kv::int8) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        k_scale[h] = R::row_scale(a_, tile, g + 8 * h);
        v_scale[h] = R::row_scale(a_, tile + R::kTileBytes, g + 8 * h);
      }
    }
#pragma unroll
    for (int nt = 0; nt < NT; ++nt) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float slope = 0;
        if (a_.alibi > 0)
          slope = alibi_slope(a_.alibi, head_of(row_from_ + 8 * nt + lane_ % 4 * 2 + i));
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float& x = s[nt][i + 2 * h];
          const int j = j0 + g + 8 * h, last = last_[nt][i];
          x *= k_scale[h] * a_.scale;
          if (a_.softcap > 0) x = capped(x, a_.softcap);
          if (a_.alibi > 0) x = fmaf(slope, static_cast<float>(j - last), x);
          const bool seen = j <= last && j < n_.length &&
                            (a_.window <= 0 || j > last - static_cast<int>(a_.window));
          x = seen ? x * kLog2E : -INFINITY;
        }
        float m = fmaxf(s[nt][i], s[nt][i + 2]);
#pragma unroll
        for (int d = 4; d < 32; d *= 2) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, d));
        m = fmaxf(m, max_[nt][i]);
        const float base = m == -INFINITY ? 0.f : m;
        const float shrink = exp2_fast(max_[nt][i] - base);
        max_[nt][i] = m;
        s[nt][i] = exp2_fast(s[nt][i] - base);
        s[nt][i + 2] = exp2_fast(s[nt][i + 2] - base);
        sum_[nt][i] = sum_[nt][i] * shrink + s[nt][i] + s[nt][i + 2];
#pragma unroll
        for (int mt = 0; mt < HD / 16; ++mt) {
          out_[nt][mt][i] *= shrink;
          out_[nt][mt][i + 2] *= shrink;
        }
      }
      constexpr bool kBf16 = kBf16Values<KV>;
      p[nt][0] = transposed(pack2<kBf16>(s[nt][0] * v_scale[0], s[nt][1] * v_scale[0]));
      p[nt][1] = transposed(pack2<kBf16>(s[nt][2] * v_scale[1], s[nt][3] * v_scale[1]));
    }
  }

  // Output tile 4 * b + i of 16 dimensions: 64 * b + 8 * g + 2 * i and the one after it.
  __device__ void add_values(const uint8_t* tile, const uint32_t (&p)[NT][2]) {
    const int g = lane_ / 4, t = lane_ % 4;
#pragma unroll
    for (int b = 0; b < HD / 64; ++b) {
      uint32_t v[4][4];
#pragma unroll
      for (int r = 0; r < 4; ++r)
        R::v_words(a_, tile, 2 * t + r % 2 + r / 2 * 8, 64 * b + 8 * g, v[r]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t a0 = __byte_perm(v[0][i], v[1][i], 0x5410),
                       a1 = __byte_perm(v[0][i], v[1][i], 0x7632),
                       a2 = __byte_perm(v[2][i], v[3][i], 0x5410),
                       a3 = __byte_perm(v[2][i], v[3][i], 0x7632);
#pragma unroll
        for (int nt = 0; nt < NT; ++nt)
          mma<kBf16Values<KV>>(out_[nt][4 * b + i], a0, a1, a2, a3, p[nt][0], p[nt][1]);
      }
    }
  }

  // The warps' outputs, sums and maxima become the block's: written, or handed to the cluster's
  // first block or to memory.
  __device__ void join_warps(bool rehearsal) {
    const int g = lane_ / 4, t = lane_ % 4;
    float* joins = reinterpret_cast<float*>(memory_);  // [warp][row][HD outputs, max, sum]
    __syncthreads();
#pragma unroll
    for (int nt = 0; nt < NT; ++nt)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (8 * nt + 2 * t + i >= rows_) continue;
        float* row = joins + (warp_ * kRows + 8 * nt + 2 * t + i) * (HD + 4);
#pragma unroll
        for (int b = 0; b < HD / 64; ++b) {
          float* to = row + 64 * b + 8 * g;
#pragma unroll
          for (int m = 0; m < 2; ++m)
            *reinterpret_cast<float4*>(to + 4 * m) =
                make_float4(out_[nt][4 * b + 2 * m][i], out_[nt][4 * b + 2 * m][i + 2],
                            out_[nt][4 * b + 2 * m + 1][i], out_[nt][4 * b + 2 * m + 1][i + 2]);
        }
        if (g == 0) {
          row[HD] = max_[nt][i];
          row[HD + 1] = sum_[nt][i];
        }
      }
    float* parts = nullptr;
    if (split_.parts > 1 && !rehearsal) {
      parts = split_.partial + part_at(part_);
      if (split_.clustered) {
        __syncwarp();
        cluster_wait();  // all blocks have begun
        parts = in_first_block(part_room()) + part_ * rows_ * (HD + 4);
      }
    }
    __syncthreads();
    for (int i = 4 * static_cast<int>(threadIdx.x); i < rows_ * HD; i += 4 * kThreads) {
      const int r = i / HD, d = i % HD;
      float m, sum;
      const float4 v = join<HD, kWarps>(joins + r * (HD + 4), kRows * (HD + 4), kWarps, d, m, sum);
      if (parts == nullptr) {
        write(r, rehearsal ? a_.head_dim : d, v, sum);  // beyond a head: nowhere
      } else {
        *reinterpret_cast<float4*>(parts + r * (HD + 4) + d) = v;
        if (d == 0) *reinterpret_cast<float2*>(parts + r * (HD + 4) + HD) = make_float2(m, sum);
      }
    }
  }
  __device__ int64_t part_at(int part) const {
    const int64_t unit = int64_t{blockIdx.z} * gridDim.x + blockIdx.x;
    return (unit * split_.parts + part) * kRows * (HD + 4);
  }
  __device__ void write(int r, int d, float4 v, float sum) const {
    const int row = row_from_ + r;
    const float scale = a_.v_scale / sum;
    const int64_t at = (n_.begin + row / group_) * a_.y.stride +
                       (kv_head_ * group_ + row % group_) * a_.head_dim + d;
    const float out[4] = {v.x * scale, v.y * scale, v.z * scale, v.w * scale};
    if (d < a_.head_dim)  // a multiple of 8
#pragma unroll
      for (int i = 0; i < 4; ++i) store_activation(a_.y.dtype, a_.y.data, at + i, out[i]);
  }

  // The first block of a cluster has room for all of its parts.
  __device__ float* part_room() const { return reinterpret_cast<float*>(memory_ + kSharedBytes); }
  __device__ void join_parts() {
    if (!split_.clustered) return;
    cluster_arrive();
    if (part_ != 0) return;
    cluster_wait();
    for (int i = 4 * static_cast<int>(threadIdx.x); i < rows_ * HD; i += 4 * kThreads) {
      const int r = i / HD, d = i % HD;
      float m, sum;
      const float4 v = join<HD, kMaxClusterParts>(part_room() + r * (HD + 4), rows_ * (HD + 4),
                                                  split_.parts, d, m, sum);
      write(r, d, v, sum);
    }
  }

  const AttentionArg& a_;
  const StepArg& step_;
  const DecodeSplit& split_;
  uint8_t *const memory_, *ring_;
  Numbers n_;
  Tiles tiles_;
  int seq_, kv_head_, part_, row_from_, group_, warp_, lane_, rows_ = 0, new_from_ = 0, fresh_ = 0;
  float max_[NT][2], sum_[NT][2], out_[NT][HD / 16][4];
  int last_[NT][2];
};

template <int HD, int NT, Kv KV>
__global__ __launch_bounds__(kThreads,
                             HD* NT <= 128 ? 3
                             : HD * NT <= 256
                                 ? 2
                                 : 1) void decode_kernel(const __grid_constant__ AttentionArg a,
                                                         const __grid_constant__ StepArg step,
                                                         const __grid_constant__ DecodeSplit s) {
  extern __shared__ __align__(128) uint8_t memory[];
  Decoder<HD, NT, KV>(a, step, s, memory).run();
}

template <int HD, int NT, Kv KV>
void launch(const AttentionArg& a, const StepArg& step, DecodeSplit s, cudaStream_t stream) {
  constexpr size_t kMostShared = 227 << 10, kShared = Decoder<HD, NT, KV>::kSharedBytes;
  const int group = a.heads / a.kv_heads;
  const int most = step.max_queries * group <= kDecodeRows ? step.max_queries * group
                                                           : std::max(group, kDecodeRows);
  const int rows = std::min(most, 8 * NT), tiles = (most + 8 * NT - 1) / (8 * NT);
  size_t shared = kShared;
  if (s.clustered) {  // as many parts as the first block has room for
    const size_t part = sizeof(float) * static_cast<size_t>(rows * (HD + 4));
    s.parts = std::min(s.parts, static_cast<int>((kMostShared - kShared) / part));
    s.clustered = s.parts > 1;
    if (s.clustered) shared += static_cast<size_t>(s.parts) * part;
  }
  s.parts = std::max(s.parts, 1);
  const auto kernel = decode_kernel<HD, NT, KV>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                       static_cast<int>(shared));
  dim3 grid(static_cast<unsigned>(step.sequences * a.kv_heads), static_cast<unsigned>(s.parts),
            static_cast<unsigned>(tiles));
  launch_clustered(kernel, grid, dim3(kThreads), shared, stream, dim3(1, s.clustered ? grid.y : 1),
                   a, step, s);
  grid.y = static_cast<unsigned>(rows);
  if (s.parts > 1 && !s.clustered)
    launch_overlapped(join_kernel<HD, NT>, grid, dim3(kThreads), 0, stream, a, step, s);
}

template <int HD, Kv KV>
void by_rows(const AttentionArg& a, const StepArg& step, const DecodeSplit& s,
             cudaStream_t stream) {
  if (a.heads / a.kv_heads * step.max_queries <= 8 && step.max_queries <= kFewQueries)
    return launch<HD, 1, KV>(a, step, s, stream);
  launch<HD, 2, KV>(a, step, s, stream);
}

template <Kv KV>
void by_head(const AttentionArg& a, const StepArg& step, const DecodeSplit& s,
             cudaStream_t stream) {
  if (a.head_dim <= 64) return by_rows<64, KV>(a, step, s, stream);
  if (a.head_dim <= 128) return by_rows<128, KV>(a, step, s, stream);
  by_rows<256, KV>(a, step, s, stream);
}

}  // namespace
}  // namespace tokamak::cuda

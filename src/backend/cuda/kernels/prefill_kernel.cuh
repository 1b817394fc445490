// A block owns 128 queries of a head: two groups of four warps multiply, 64 queries each, and one
// fetches keys and values ahead of them. Products run asynchronously: the scores of the next keys
// are under way while the last ones' probabilities multiply values, and the two groups take turns
// so that one's exponentials run beside the other's products. Keys go from the last to the first,
// so that only the first turns need masks (and the last ones with a window).
#pragma once
#include "backend/cuda/kernels/alibi.cuh"
#include "backend/cuda/kernels/attention_parts.cuh"
#include "backend/cuda/kernels/attention_wgmma.cuh"
#include "backend/cuda/kernels/bulk_copy.cuh"
#include "backend/cuda/kernels/prefill_work.cuh"
#include "backend/cuda/kernels/warp_groups.cuh"

namespace tokamak::cuda {
namespace {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <int HD, bool BF16, Kv KV, bool BOXES>
class Prefill {
  using S = Shape<HD, BOXES>;
  static constexpr int kStages = S::kStages, kKeys = S::kKeys, kO = HD == 256 ? 128 : HD,
                       kOParts = HD / kO;

 public:
  __device__ Prefill(const PrefillArg& a, uint8_t* memory) : a_(a) {
    q_ = memory;
    k_ = q_ + S::kQBytes;
    v_ = k_ + kStages * S::kTileBytes;
    codes_ = v_ + kStages * S::kTileBytes;
    bars_ = reinterpret_cast<Barriers<kStages>*>(codes_ + 2 * S::kCodeBytes);
    const int block = static_cast<int>(blockIdx.x), row = a.tiles * a.together;
    const int head = block / row * a.together, side = min(a.together, a.heads - head);
    head_ = head + block % row % side;
    flat_ = block % row / side;
    kv_head_ = head_ / (a.heads / a.kv_heads);
  }

  __device__ void run() {
    const bool may_be_fresh = KV == Kv::f8 && a_.q.k != nullptr;
    if (threadIdx.x == 0 && (BOXES || may_be_fresh)) {
      prefetch_map(&a_.k);
      prefetch_map(&a_.v);
    }
    let_next_start();
    wait_for_previous();
    int tile;
    if (!find_tile(a_.step, a_.heads / a_.kv_heads, a_.q.deterministic, flat_, t_.seq, tile))
      return;
    t_.begin = a_.step.query_begin[t_.seq];
    t_.queries = a_.step.query_begin[t_.seq + 1] - t_.begin;
    t_.length = a_.step.context_len[t_.seq];
    t_.past = t_.length - t_.queries;
    t_.first = tile * kPrefillRows;
    const int last = t_.past + min(t_.first + kPrefillRows, t_.queries) - 1;
    t_.turn_to = last / kKeys + 1;
    t_.turn_from = a_.window > 0 ? max(0, t_.past + t_.first - a_.window + 1) / kKeys : 0;
    const bool fresh = may_be_fresh && t_.past == 0;
    if (threadIdx.x == 0) init_barriers(BOXES || fresh ? 1 : kGroup);
    __syncthreads();
    if (threadIdx.x < kGroup) {
      fewer_registers<40>();
      if constexpr (BOXES)
        fetch_boxes();
      else if (fresh)
        fetch_fresh();
      else
        fetch_codes();
    } else {
      more_registers<232>();
      consume();
    }
  }

 private:
  __device__ static bool elected() { return threadIdx.x % 32 == 0; }

  __device__ void init_barriers(int fetching) const {  // threads that report a tile
    barrier_init(&bars_->landed, 1);
    for (int s = 0; s < kStages; ++s) {
      barrier_init(&bars_->full_k[s], fetching);
      barrier_init(&bars_->full_v[s], fetching);
      barrier_init(&bars_->empty_k[s], 2);
      barrier_init(&bars_->empty_v[s], 2);
    }
    barrier_init_fence();
  }

  // The tensor copy engine takes boxes of a cache block; one warp starts them, a box a lane, and
  // asks for the next turn's blocks ahead of their time.
  __device__ void fetch_boxes() {
    if (threadIdx.x >= 32) return;
    int next = block_of(t_.turn_to - 1), i = 0;
    for (int turn = t_.turn_to - 1; turn >= t_.turn_from; --turn, ++i) {
      const int s = i % kStages, block = next;
      if (turn > t_.turn_from) next = block_of(turn - 1);
      const uint32_t parity = (i / kStages & 1) ^ 1;
      const bool ends = (turn + 1) * kKeys > t_.length;
      wait_phase(&bars_->empty_k[s], parity);
      start_boxes(&a_.k, k_ + s * S::kTileBytes, &bars_->full_k[s], turn, block);
      wait_phase(&bars_->empty_v[s], parity);
      start_boxes(&a_.v, v_ + s * S::kTileBytes, ends ? &bars_->landed : &bars_->full_v[s], turn,
                  block);
      if (ends) end_values(s, turn);
    }
  }
  // Only in the first turn: what lies behind the sequence counts zero.
  __device__ void end_values(int stage, int turn) const {
    wait_phase(&bars_->landed, 0);
    clear_rows(v_ + stage * S::kTileBytes, t_.length - turn * kKeys);
    fence_async();
    __syncwarp();
    if (elected()) arrive(&bars_->full_v[stage]);
  }
  // The same of a prompt without a past, from the rows that lie beside the cache.
  __device__ void fetch_fresh() const {
    if (threadIdx.x >= 32) return;
    const auto start = [&](const CUtensorMap* map, uint8_t* to, uint64_t* barrier, int turn) {
      if (!elected()) return;
      arrive_expecting(barrier, S::kTileBytes);
      for (int h = 0; h < S::kHalves; ++h)
        copy_box(to + h * kKeys * 128, map, 64 * h, t_.begin + turn * kKeys, kv_head_, 0, barrier);
    };
    int i = 0;
    for (int turn = t_.turn_to - 1; turn >= t_.turn_from; --turn, ++i) {
      const int s = i % kStages;
      const uint32_t parity = (i / kStages & 1) ^ 1;
      const bool ends = (turn + 1) * kKeys > t_.length;
      wait_phase(&bars_->empty_k[s], parity);
      start(&a_.k, k_ + s * S::kTileBytes, &bars_->full_k[s], turn);
      wait_phase(&bars_->empty_v[s], parity);
      start(&a_.v, v_ + s * S::kTileBytes, ends ? &bars_->landed : &bars_->full_v[s], turn);
      __syncwarp();
      if (ends) end_values(s, turn);
    }
  }
  // Lane i's box of a turn: columns i % kHalves, rows from i / kHalves * box_rows().
  __device__ int box_rows() const { return min(a_.block_size, kKeys); }
  __device__ int box_key(int turn) const {
    return turn * kKeys + static_cast<int>(threadIdx.x) / S::kHalves * box_rows();
  }
  __device__ bool has_box(int turn) const {
    const int j = box_key(turn);
    return j < (turn + 1) * kKeys && j < t_.length;
  }
  __device__ int block_of(int turn) const {
    return has_box(turn) ? a_.step.block_table[int64_t{t_.seq} * a_.step.block_table_stride +
                                               box_key(turn) / a_.block_size]
                         : 0;
  }
  __device__ void start_boxes(const CUtensorMap* map, uint8_t* to, uint64_t* barrier, int turn,
                              int block) {
    const unsigned boxes = __popc(__ballot_sync(0xffffffffu, has_box(turn)));
    if (elected()) arrive_expecting(barrier, boxes * static_cast<uint32_t>(box_rows()) * 128);
    __syncwarp();
    if (has_box(turn)) {
      const int j = box_key(turn), h = static_cast<int>(threadIdx.x) % S::kHalves;
      copy_box(to + (h * kKeys + j - turn * kKeys) * 128, map, 64 * h, j % a_.block_size, kv_head_,
               block, barrier);
    }
    __syncwarp();
  }
  __device__ void clear_rows(uint8_t* tile, int from) const {
    for (int i = from * 8 + static_cast<int>(threadIdx.x); i < kKeys * 8; i += 32)
      for (int h = 0; h < S::kHalves; ++h)
        *reinterpret_cast<uint4*>(tile + h * kKeys * 128 + i * 16) = uint4{0, 0, 0, 0};
  }

  // Caches of 8 bits: tiles are copied as they are into room of their own, one of K and one of V
  // ahead, and widened from there by the group's 128 threads.
  __device__ void fetch_codes() {
    start_codes(a_.k_cache, codes_, t_.turn_to - 1);
    start_codes(a_.v_cache, codes_ + S::kCodeBytes, t_.turn_to - 1);
    int i = 0;
    for (int turn = t_.turn_to - 1; turn >= t_.turn_from; --turn, ++i) {
      const int s = i % kStages;
      const uint32_t parity = (i / kStages & 1) ^ 1;
      widen(a_.k_cache, codes_, k_ + s * S::kTileBytes, turn, &bars_->empty_k[s], parity,
            &bars_->full_k[s]);
      widen(a_.v_cache, codes_ + S::kCodeBytes, v_ + s * S::kTileBytes, turn, &bars_->empty_v[s],
            parity, &bars_->full_v[s]);
    }
  }
  __device__ void widen(const uint8_t* cache, uint8_t* codes, uint8_t* to, int turn,
                        uint64_t* empty, uint32_t parity, uint64_t* full) const {
    wait_copies<1>();
    if constexpr (KV == Kv::int8) named_sync(5, kGroup);
    wait_phase(empty, parity);
    if constexpr (KV == Kv::int8)
      widen_int8(codes, to, turn);
    else
      widen_f8(codes, to, turn);
    if constexpr (KV == Kv::int8) named_sync(5, kGroup);
    start_codes(cache, codes, turn - 1);
    fence_async();
    arrive(full);
  }
  __device__ const uint8_t* row_of(const uint8_t* cache, int j, int pitch) const {
    const int at = a_.block_shift >= 0 ? j >> a_.block_shift : j / a_.block_size;
    const int64_t block = a_.step.block_table[int64_t{t_.seq} * a_.step.block_table_stride + at];
    return cache +
           ((block * a_.kv_heads + kv_head_) * a_.block_size + j - at * a_.block_size) * pitch;
  }
  // f8: a thread widens what it has copied. int8: eight rows begin at a multiple of 16 bytes.
  __device__ void start_codes(const uint8_t* cache, uint8_t* codes, int turn) const {
    const int first = turn * kKeys;
    if (turn < t_.turn_from) {
    } else if constexpr (KV == Kv::int8) {
      const int pitch = a_.head_dim + 2, pieces = pitch / 2;
      const int warp = static_cast<int>(threadIdx.x) / 32,
                lane = static_cast<int>(threadIdx.x) % 32;
      for (int row = 8 * warp; row < kKeys && first + row < t_.length; row += 8 * kGroup / 32) {
        const uint8_t* from = row_of(cache, first + row, pitch);
        for (int i = lane; i < pieces; i += 32)
          copy16_async(codes + row * pitch + i * 16, from + i * 16, true);
      }
    } else {
      constexpr int kPieces = HD / 16;
      const int piece = static_cast<int>(threadIdx.x) % kPieces;
#pragma unroll 4
      for (int row = static_cast<int>(threadIdx.x) / kPieces; row < kKeys; row += kGroup / kPieces)
        if (first + row < t_.length && piece * 16 < a_.head_dim)
          copy16_async(codes + row * HD + piece * 16,
                       row_of(cache, first + row, a_.head_dim) + piece * 16, true);
    }
    commit_copies();
  }
  __device__ uint4* place(uint8_t* tile, int row, int d) const {
    return reinterpret_cast<uint4*>(tile + (d / 64 * kKeys + row) * 128 +
                                    ((d % 64 / 8) ^ (row % 8)) * 16);
  }
  __device__ void widen_f8(const uint8_t* codes, uint8_t* to, int turn) const {
    constexpr int kPieces = HD / 16;
    const int piece = static_cast<int>(threadIdx.x) % kPieces;
#pragma unroll 2
    for (int row = static_cast<int>(threadIdx.x) / kPieces; row < kKeys; row += kGroup / kPieces) {
      uint4 c = *reinterpret_cast<const uint4*>(codes + row * HD + piece * 16);
      if (turn * kKeys + row >= t_.length || piece * 16 >= a_.head_dim) c = uint4{0, 0, 0, 0};
      const auto pair = [](uint32_t w, int half) {
        return cuda::widen_f8(static_cast<uint16_t>(w >> 16 * half));
      };
      *place(to, row, 16 * piece) = {pair(c.x, 0), pair(c.x, 1), pair(c.y, 0), pair(c.y, 1)};
      *place(to, row, 16 * piece + 8) = {pair(c.z, 0), pair(c.z, 1), pair(c.w, 0), pair(c.w, 1)};
    }
  }
  __device__ void widen_int8(const uint8_t* codes, uint8_t* to, int turn) const {
    constexpr int kPieces = HD / 8;
    const int pitch = a_.head_dim + 2, d = static_cast<int>(threadIdx.x) % kPieces * 8;
#pragma unroll 2
    for (int row = static_cast<int>(threadIdx.x) / kPieces; row < kKeys; row += kGroup / kPieces) {
      const auto* h = reinterpret_cast<const uint16_t*>(codes + row * pitch);
      uint4 v{0, 0, 0, 0};
      if (turn * kKeys + row < t_.length && d < a_.head_dim) {
        const __half2 scale = __half2half2(__ushort_as_half(h[0]));
        h += 1 + d / 2;
        const uint32_t low = h[0] | uint32_t{h[1]} << 16, high = h[2] | uint32_t{h[3]} << 16;
        const auto pair = [&](uint32_t w, int half) {
          const uint32_t c = cuda::widen_int8<false>(w, half);
          const __half2 x = __hmul2(*reinterpret_cast<const __half2*>(&c), scale);
          return *reinterpret_cast<const uint32_t*>(&x);
        };
        v = {pair(low, 0), pair(low, 1), pair(high, 0), pair(high, 1)};
      }
      *place(to, row, d) = v;
    }
  }

  // This group's 64 rows of q, turned where the kernel before has not done it, swizzled.
  __device__ void load_q(int group) const {
    const int first = t_.first + group * 64, rows = min(64, t_.queries - first);
    const auto* from = static_cast<const uint16_t*>(a_.q.data) + (t_.begin + first) * a_.q.stride +
                       int64_t{head_} * a_.head_dim;
    const auto place = [&](int row, int d) {
      return reinterpret_cast<uint4*>(q_ + (d / 64 * kPrefillRows + group * 64 + row) * 128 +
                                      ((d % 64 / 8) ^ (row % 8)) * 16);
    };
    if (a_.q.angles != nullptr && a_.head_dim == HD) {
      load_turned(group, first, rows, from, place);
      return fence_async();
    }
    const int half = a_.head_dim / 2, pieces = a_.q.angles != nullptr ? half / 8 : HD / 8;
    for (int i = static_cast<int>(threadIdx.x) % kGroup; i < 64 * pieces; i += kGroup) {
      const int row = i / pieces, d = i % pieces * 8;
      const bool some = row < rows && d < a_.head_dim;
      uint4 u{0, 0, 0, 0}, w{0, 0, 0, 0};
      if (some) u = *reinterpret_cast<const uint4*>(from + row * a_.q.stride + d);
      if (a_.q.angles != nullptr) {
        if (some) {
          w = *reinterpret_cast<const uint4*>(from + row * a_.q.stride + half + d);
          turn8<BF16>(a_.q.bf16, u, w, a_.q.angles + int64_t{t_.begin + first + row} * half + d);
        }
        *place(row, half + d) = w;
      }
      *place(row, d) = u;
    }
    if (a_.q.angles != nullptr && a_.head_dim < HD)
      for (int i = static_cast<int>(threadIdx.x) % kGroup; i < 64 * (HD - a_.head_dim) / 8;
           i += kGroup)
        *place(i % 64, a_.head_dim + i / 64 * 8) = uint4{0, 0, 0, 0};
    fence_async();
  }
  // Heads of the full size, turned: loads go out together, for nothing else runs meanwhile.
  template <typename Place>
  __device__ void load_turned(int group, int first, int rows, const uint16_t* from,
                              const Place& place) const {
    constexpr int kHalf = HD / 2, kPieces = kHalf / 8, kEach = 64 * kPieces / kGroup;
    constexpr int kAtOnce = kEach < 4 ? kEach : 4;
    const int thread = static_cast<int>(threadIdx.x) % kGroup;
#pragma unroll 1
    for (int i0 = 0; i0 < kEach; i0 += kAtOnce) {
      uint4 u[kAtOnce], w[kAtOnce];
      float4 c[kAtOnce][4];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int item = (i0 + i) * kGroup + thread, row = item / kPieces, d = item % kPieces * 8;
        u[i] = w[i] = uint4{0, 0, 0, 0};
        if (row >= rows) continue;
        u[i] = *reinterpret_cast<const uint4*>(from + row * a_.q.stride + d);
        w[i] = *reinterpret_cast<const uint4*>(from + row * a_.q.stride + kHalf + d);
        const auto* angles = reinterpret_cast<const float4*>(
            a_.q.angles + int64_t{t_.begin + first + row} * kHalf + d);
#pragma unroll
        for (int e = 0; e < 4; ++e) c[i][e] = angles[e];
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int item = (i0 + i) * kGroup + thread, row = item / kPieces, d = item % kPieces * 8;
        if (row < rows) turn8<BF16>(a_.q.bf16, u[i], w[i], reinterpret_cast<const float2*>(c[i]));
        *place(row, d) = u[i];
        *place(row, kHalf + d) = w[i];
      }
    }
  }

  // s = q k^T of this group's rows and the keys of stage `stage`.
  __device__ void start_scores(float (&s)[kKeys / 2], int group, int stage) const {
    const uint32_t q = shared_address(q_) + static_cast<uint32_t>(group * 64 * 128),
                   k = shared_address(k_ + stage * S::kTileBytes);
#pragma unroll
    for (int d = 0; d < HD / 16; ++d) {
      const uint32_t h = d / 4, in = d % 4 * 32;
      wgmma_ss<BF16>(s, matrix_descriptor(q + h * kPrefillRows * 128 + in),
                     matrix_descriptor(k + h * kKeys * 128 + in), d > 0,
                     std::integral_constant<int, kKeys>{});
    }
  }
  __device__ void start_values(float (&o)[HD / 2], const uint32_t (&p)[kKeys / 4],
                               int stage) const {
    const uint32_t v = shared_address(v_ + stage * S::kTileBytes);
#pragma unroll
    for (int j = 0; j < kKeys / 16; ++j)
#pragma unroll
      for (int part = 0; part < kOParts; ++part)
        wgmma_rs<BF16>(
            o + part * kO / 2, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3],
            matrix_descriptor(v + (part * kO / 64) * kKeys * 128 + j * 2048, kKeys * 128),
            std::integral_constant<int, kO>{});
  }

  // Products to scores: what these are times is returned.
  __device__ float finish_scores(float (&s)[kKeys / 2], int row, int turn) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, column = lane % 4 * 2;
    const int base = t_.past + t_.first;
    float scale = a_.scale * kLog2E;
    if (a_.softcap > 0) {
#pragma unroll
      for (int i = 0; i < kKeys / 2; ++i) s[i] = capped(s[i] * a_.scale, a_.softcap);
      scale = kLog2E;
    }
    if (a_.alibi > 0) {
      const float slope = alibi_slope(a_.alibi, head_), unit = a_.softcap > 0 ? 1 : a_.scale;
#pragma unroll
      for (int i = 0; i < kKeys / 2; ++i) {
        const int j = turn * kKeys + i / 4 * 8 + column + i % 2, p = base + row + i % 4 / 2 * 8;
        s[i] = fmaf(slope, static_cast<float>(j - p), s[i] * unit);
      }
      scale = kLog2E;
    }
    const int group_row = row & ~63;
    const bool all = (turn + 1) * kKeys - 1 <= base + group_row &&
                     (a_.window <= 0 || turn * kKeys > base + group_row + 63 - a_.window);
    if (!all) {
#pragma unroll
      for (int i = 0; i < kKeys / 2; ++i) {
        const int j = turn * kKeys + i / 4 * 8 + column + i % 2, p = base + row + i % 4 / 2 * 8;
        if (j > p || (a_.window > 0 && j <= p - a_.window)) s[i] = -INFINITY;
      }
    }
    return scale;
  }
  // Scores to probabilities. Earlier sums stay as they are while no row's maximum has grown much
  // (probabilities are then up to 2^kSlack): false. Else `shrink` is what they count now.
  // Deterministic: each row goes by its own maximum, whatever those beside it do.
  template <bool FIRST>
  __device__ bool soften(float (&s)[kKeys / 2], float (&most)[2], float (&sum)[2],
                         float (&shrink)[2], int row, int turn) const {
    const float scale = finish_scores(s, row, turn);
    // Four chains a row keep the arithmetic units busy.
    float m[2][4], total[2][4] = {};
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float pair = fmaxf(s[4 * i + 2 * r], s[4 * i + 2 * r + 1]);
        m[r][i % 4] = i < 4 ? pair : fmaxf(m[r][i % 4], pair);
      }
    constexpr float kSlack = 8;
    float offset[2], now[2];
    bool grown = FIRST || a_.q.deterministic;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float all = fmaxf(fmaxf(m[r][0], m[r][1]), fmaxf(m[r][2], m[r][3]));
      all = fmaxf(all, __shfl_xor_sync(0xffffffffu, all, 1));
      now[r] = fmaxf(all, __shfl_xor_sync(0xffffffffu, all, 2));
      if constexpr (!FIRST) {
        now[r] = fmaxf(now[r], most[r]);
        grown = grown || (now[r] - most[r]) * scale > kSlack;
      }
    }
    if constexpr (!FIRST) grown = __any_sync(0xffffffffu, grown);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (FIRST || grown) {
        offset[r] = now[r] == -INFINITY ? 0.f : now[r] * scale;
        if constexpr (!FIRST) {
          shrink[r] = now[r] == most[r] ? 1.f : exp2_fast(fmaf(most[r], scale, -offset[r]));
          sum[r] *= shrink[r];
        }
        most[r] = now[r];
      } else {
        offset[r] = most[r] == -INFINITY ? 0.f : most[r] * scale;
      }
    }
#pragma unroll
    for (int i = 0; i < kKeys / 8; ++i)
#pragma unroll
      for (int r = 0; r < 2; ++r)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& x = s[4 * i + 2 * r + c];
          x = exp2_fast(fmaf(x, scale, -offset[r]));
          total[r][i % 2 * 2 + c] += x;
        }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float all = (total[r][0] + total[r][1]) + (total[r][2] + total[r][3]);
      sum[r] = FIRST ? all : sum[r] + all;
    }
    return grown;
  }
  __device__ static void pack(const float (&s)[kKeys / 2], uint32_t (&p)[kKeys / 4]) {
#pragma unroll
    for (int i = 0; i < kKeys / 4; ++i) p[i] = pack2<BF16>(s[2 * i], s[2 * i + 1]);
  }

  __device__ void consume() {
    const int group = static_cast<int>(threadIdx.x) / kGroup - 1;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const bool leader = threadIdx.x % kGroup == 0;
    const int row = group * 64 + static_cast<int>(threadIdx.x) % kGroup / 32 * 16 + lane / 4;
    const int mine = 1 + group, others = 2 - group;
    float s[kKeys / 2], o[HD / 2], most[2], sum[2], shrink[2];
    uint32_t p[kKeys / 4];
#pragma unroll
    for (int i = 0; i < HD / 2; ++i) o[i] = 0;
    if (group == 1) named_arrive(others, 2 * kGroup);  // the first group goes first

    load_q(group);
    named_sync(3 + group, kGroup);
    wait_phase(&bars_->full_k[0], 0);
    named_sync(mine, 2 * kGroup);
    wgmma_begin();
    start_scores(s, group, 0);
    wgmma_commit();
    named_arrive(others, 2 * kGroup);
    wgmma_wait<0>();
    wgmma_hold(s);
    if (leader) arrive(&bars_->empty_k[0]);
    int turn = t_.turn_to - 1, i = 0;
    soften<true>(s, most, sum, shrink, row, turn);
    pack(s, p);

    for (--turn, ++i; turn >= t_.turn_from; --turn, ++i) {
      const int stage = i % kStages, before = (i - 1) % kStages;
      wait_phase(&bars_->full_k[stage], i / kStages & 1);
      named_sync(mine, 2 * kGroup);
      wgmma_begin();
      start_scores(s, group, stage);
      wgmma_commit();
      wait_phase(&bars_->full_v[before], (i - 1) / kStages & 1);
      start_values(o, p, before);
      wgmma_commit();
      named_arrive(others, 2 * kGroup);
      wgmma_wait<1>();
      wgmma_hold(s);
      if (leader) arrive(&bars_->empty_k[stage]);
      const bool grown = soften<false>(s, most, sum, shrink, row, turn);
      wgmma_hold(s);  // beside the values' product, not after it
      wgmma_wait<0>();
      wgmma_hold(o);
      if (leader) arrive(&bars_->empty_v[before]);
      if (grown) {
#pragma unroll
        for (int e = 0; e < HD / 2; ++e) o[e] *= shrink[e % 4 / 2];
      }
      pack(s, p);
    }
    if (group == 0) named_sync(mine, 2 * kGroup);  // takes the other's last arrival
    add_values(o, p, i - 1);
    store(o, sum, row);
  }
  __device__ void add_values(float (&o)[HD / 2], const uint32_t (&p)[kKeys / 4], int i) {
    wait_phase(&bars_->full_v[i % kStages], i / kStages & 1);
    wgmma_begin();
    start_values(o, p, i % kStages);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(o);
  }

  __device__ void store(const float (&o)[HD / 2], float (&sum)[2], int row) const {
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
    const bool pairs = a_.y.stride % 2 == 0 && reinterpret_cast<uintptr_t>(a_.y.data) % 8 == 0 &&
                       a_.head_dim % 2 == 0;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
      const int query = t_.first + row + 8 * r;
      if (query >= t_.queries) continue;
      const float factor = a_.v_scale / sum[r];
      const int64_t at = (t_.begin + query) * a_.y.stride + int64_t{head_} * a_.head_dim;
#pragma unroll
      for (int i = 0; i < HD / 8; ++i) {
        const int d = 8 * i + column;
        if (d >= a_.head_dim) continue;
        const float x = o[4 * i + 2 * r] * factor, y = o[4 * i + 2 * r + 1] * factor;
        if (pairs && a_.y.dtype == DType::f16) {
          *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(a_.y.data) + at + d) =
              pack2<false>(x, y);
        } else if (pairs && a_.y.dtype == DType::bf16) {
          *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(a_.y.data) + at + d) =
              pack2<true>(x, y);
        } else {
          store_any(a_.y.dtype, a_.y.data, at + d, x);
          store_any(a_.y.dtype, a_.y.data, at + d + 1, y);
        }
      }
    }
  }

  const PrefillArg& a_;
  uint8_t *q_, *k_, *v_, *codes_;
  Barriers<kStages>* bars_;
  int head_, kv_head_, flat_;
  Tile t_;
};

#endif

template <int HD, Kv KV, bool BOXES>
__global__ __launch_bounds__(kThreads,
                             1) void prefill_kernel(const __grid_constant__ PrefillArg a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ uint8_t raw[];
  uint8_t* memory = raw + (1024 - shared_address(raw) % 1024) % 1024;
  Prefill<HD, KV == Kv::bf16, KV, BOXES>(a, memory).run();
#endif
}

}  // namespace
}  // namespace tokamak::cuda

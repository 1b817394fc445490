// A warp by itself owns one KV head of one sequence: it readies the step's queries, keys and values
// of the head, walks the context in tiles of 16 keys through its own ring of shared memory, and
// writes the outputs; warps never meet. S^T = K Q^T and O^T = V^T P^T on tensor cores, with the
// dimensions in an order that lets 16-byte reads serve as operands. More than 8 rows (queries times
// query heads of the KV head) go in as many passes. A warp's own speed is what counts: few
// instructions a tile, and few ahead of the first.
#pragma once
#include <type_traits>

#include "backend/cuda/kernels/attention_parts.cuh"
#include "backend/cuda/kernels/decode_many.h"

namespace tokamak::cuda {
namespace {

constexpr int kManyWarps = 4, kManyThreads = 32 * kManyWarps, kManyRows = 8;
constexpr int kManyShift = 4, kManyTile = 1 << kManyShift;

struct ManyArg {
  AttentionArg a;
  StepArg step;
  int group = 1, block_shift = 0;  // log2 of the cache's block size
  float scale = 1;                 // of products of codes, to powers of two
  int multiprocessors = 1;
};

// BF16: q, k, v and y, else f16.
template <int HD, Kv KV, bool BF16>
class LoneWarp {
  static constexpr int kBytes = KV == Kv::f8 ? 1 : 2, kRowBytes = HD * kBytes;
  static constexpr int kTileBytes = kManyTile * kRowBytes;  // of K, and of V
  static constexpr int kSlots = kTileBytes >= 4096 ? 3 : 6;
  static constexpr int kChunks = kRowBytes / 16, kRowsAtOnce = 32 / kChunks;
  static constexpr int kHalf = HD / 2;

 public:
  // The ring, whose slots take a tile of K and one of V in turn; the angles of a token.
  static constexpr int kRingBytes = kSlots * kTileBytes;
  static constexpr int kWarpBytes = kRingBytes + static_cast<int>(sizeof(float2)) * kHalf;

  __device__ LoneWarp(const ManyArg& m, uint8_t* memory, int unit)
      : m_(m),
        a_(m.a),
        ring_(shared_address(memory)),
        angles_(reinterpret_cast<float2*>(memory + kRingBytes)),
        seq_(unit / m.a.kv_heads),
        kv_head_(unit - seq_ * m.a.kv_heads),
        lane_(static_cast<int>(threadIdx.x) % 32),
        g_(lane_ / 4),
        t_(lane_ % 4) {
    const int chunk = lane_ % kChunks, row = lane_ / kChunks;
    k_put_ = row * kRowBytes + k_chunk(row, chunk) * 16;
    v_put_ = row * kRowBytes + v_chunk(row, chunk) * 16;
    k_get_ = place(k_chunk, g_, 8 * t_);
    v_get_ = place(v_chunk, 2 * t_, 8 * g_);
  }

  __device__ void run() {
    const StepArg& step = m_.step;
    begin_ = load_fresh(step.query_begin + seq_);
    queries_ = load_fresh(step.query_begin + seq_ + 1) - begin_;
    length_ = load_fresh(step.context_len + seq_);
    if (queries_ <= 0 || !is_decode(queries_, m_.group)) return;
    const int rows = queries_ * m_.group;
    for (int row = 0; row < rows; row += kManyRows) pass(row, min(kManyRows, rows - row));
  }

 private:
  // Rows row_from … + rows.
  __device__ void pass(int row_from, int rows) {
    const int past = length_ - queries_, last_query = query_of(row_from + rows - 1);
    known_ = past + last_query + 1;
    stale_ = past + query_of(row_from);
    tiles_ = (known_ + kManyTile - 1) / kManyTile;
    asked_ = 0;
    put_ = 0;
    places_ = place_of(lane_);
    more_places_ = place_of(lane_ + 32);
    int ready = 0;  // what holds nothing of this pass can come before it is there
#pragma unroll 1
    for (; ready < kSlots && (ready / 2 + 1) * kManyTile <= stale_; ++ready) start(ready % 2);
    ready_rows(row_from, rows, last_query);
    __syncwarp();  // what it wrote to the cache is there for all lanes
#pragma unroll 1
    for (; ready < kSlots; ++ready) start(ready % 2);
    walk(row_from);
    write(row_from, rows);
    __syncwarp();
  }

  // Of a row, which goes by query, then by query head of the KV head; and that head.
  __device__ int query_of(int row) const { return queries_ == 1 ? 0 : row / m_.group; }
  __device__ int head_of(int row, int query) const {
    return kv_head_ * m_.group + row - query * m_.group;
  }

  __device__ int block_at(int j) const {
    const StepArg& step = m_.step;
    return load_fresh(step.block_table + int64_t{seq_} * step.block_table_stride +
                      (j >> m_.block_shift));
  }
  // Where a tile lies in a pool, in tiles.
  __device__ uint32_t place_of(int tile) const {
    if (tile * kManyTile >= known_) return 0;
    const int shift = m_.block_shift - kManyShift;
    const int head = block_at(tile * kManyTile) * a_.kv_heads + kv_head_;
    return (static_cast<uint32_t>(head) << shift) + (tile & ((1 << shift) - 1));
  }
  // The next tile of K, or then of V, into the next slot; zeros behind what is known. Every lane
  // knows the places of two tiles: of the 32 at hand, and of those after them.
  __device__ void start(bool values) {
    if (!values) {
      if (asked_ % 32 == 0 && asked_ > 0) {
        places_ = more_places_;
        more_places_ = place_of(asked_ + lane_ + 32);
      }
      from_ = uint64_t{__shfl_sync(0xffffffffu, places_, asked_ % 32)} * kTileBytes + lane_ * 16;
      left_ = known_ - asked_++ * kManyTile;
    }
    if (left_ > 0) {
      const uint8_t* from = (values ? a_.v_cache : a_.k_cache) + from_;
#pragma unroll
      for (int r = 0; r < kManyTile; r += kRowsAtOnce)
        copy16_async(ring_ + put_ + r * kRowBytes + (values ? v_put_ ^ v_chunk(r, 0) * 16 : k_put_),
                     from + r * kRowBytes, left_ > r + lane_ / kChunks);
      put_ = after(put_);
    }
    commit_copies();
  }
  __device__ static int after(int slot) {
    return slot == kRingBytes - kTileBytes ? 0 : slot + kTileBytes;
  }
  // Where 16-byte chunk `chunk` of a row lies, so that reads meet no bank conflicts. Rows that are
  // kRowsAtOnce apart have the same place for keys, one that differs by v_chunk(distance, 0) for
  // values.
  __device__ static int k_chunk(int row, int chunk) {
    if constexpr (KV == Kv::f8) return chunk ^ (kRowBytes == 128 ? (row & 3) << 1 : row & 2);
    return chunk ^ (row & 1) << 2;
  }
  __device__ static int v_chunk(int row, int chunk) {
    return chunk ^ ((row >> 1 & 3) << 1 & (kChunks - 1));
  }
  // Bytes from a tile's begin to element d of a row.
  template <typename Chunk>
  __device__ static int place(Chunk chunk, int row, int d) {
    return row * kRowBytes + chunk(row, d * kBytes / 16) * 16 + d * kBytes % 16;
  }

  // Eight elements of a head from `at`, in a row of x.
  __device__ static uint4 piece(const RowsArg& x, int t, int at) {
    return *reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(x.data) + t * x.stride +
                                           at);
  }
  // The rows' queries, turned, into registers as operands: lane (g, t) has pieces t, t + 4 … of
  // row g. On the way each token's key and value into the cache.
  __device__ void ready_rows(int row_from, int rows, int last_query) {
    const int row = row_from + g_, mine = query_of(row);
    uint4 raw[HD / 32];
#pragma unroll
    for (int c = 0; c < HD / 32; ++c) {
      raw[c] = uint4{0, 0, 0, 0};
      if (g_ < rows) raw[c] = piece(a_.q, begin_ + mine, head_of(row, mine) * HD + 32 * c + 8 * t_);
    }
#pragma unroll 1
    for (int query = query_of(row_from); query <= last_query; ++query) {
      const bool append = query * m_.group >= row_from;
      uint4 low{}, high{};
      int64_t place = 0;
      if (append) {
        load_fresh_rows(begin_ + query, low, high);
        const int j = length_ - queries_ + query;
        const int rest = j & ((1 << m_.block_shift) - 1);
        place = ((int64_t{block_at(j) * a_.kv_heads + kv_head_} << m_.block_shift) + rest) * HD;
      }
      if (a_.has_rope) {
        const int position = load_fresh(a_.positions + begin_ + query);
#pragma unroll 1
        for (int i = lane_; i < kHalf; i += 32) angles_[i] = angle(position, i);
        __syncwarp();
      }
      if (append) store_fresh_rows(low, high, place);
      if (mine == query && a_.has_rope) {
#pragma unroll
        for (int c = 0; c < HD / 64; ++c)
          turn8<BF16>(BF16, raw[c], raw[c + HD / 64], angles_ + 32 * c + 8 * t_);
      }
      __syncwarp();
    }
#pragma unroll
    for (int c = 0; c < HD / 32; ++c) {
      float x[8];
      widen8(BF16, raw[c], x);
      q_[c] = narrow8<kBf16Keys<KV>>(x);
    }
  }
  __device__ float2 angle(int position, int i) const {
    const RopeArg& r = a_.rope;
    const bool longer = r.long_table != nullptr && length_ > r.long_from;
    float s, c;
    sincosf(static_cast<float>(position) * (longer ? r.long_table : r.table)[i], &s, &c);
    const float magnitude = longer ? r.long_magnitude : r.magnitude;
    return {c * magnitude, s * magnitude};
  }
  // The first lanes have two pieces of k each, the next ones of v.
  static constexpr int kPairs = HD / 16;
  __device__ void load_fresh_rows(int t, uint4& low, uint4& high) const {
    if (lane_ >= 2 * kPairs) return;
    const RowsArg& x = lane_ < kPairs ? a_.k : a_.v;
    const int at = kv_head_ * HD + lane_ % kPairs * 8;
    low = piece(x, t, at);
    high = piece(x, t, at + kHalf);
  }
  __device__ void store_fresh_rows(uint4 low, uint4 high, int64_t place) const {
    if (lane_ >= 2 * kPairs) return;
    const bool key = lane_ < kPairs;
    const int at = lane_ % kPairs * 8;
    float x[8], y[8];
    widen8(BF16, low, x);
    widen8(BF16, high, y);
    if (key && a_.has_rope) turn8(x, y, angles_ + at);
    uint8_t* to = (key ? a_.k_cache : a_.v_cache) + (place + at) * kBytes;
    const float scale = key ? a_.k_scale : a_.v_scale;
    store_cached8<KV>(to, x, scale);
    store_cached8<KV>(to + kHalf * kBytes, y, scale);
  }

  __device__ void walk(int row_from) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      most_[i] = -INFINITY;
      sum_[i] = 0;
      last_[i] = length_ - queries_ + query_of(row_from + 2 * t_ + i);
    }
#pragma unroll
    for (int m = 0; m < HD / 16; ++m)
#pragma unroll
      for (int i = 0; i < 4; ++i) out_[m][i] = 0;

    int at = 0;
#pragma unroll 1
    for (int tile = 0; tile < tiles_; ++tile) {
      wait_copies<kSlots - 1>();
      __syncwarp();
      float s[4];
      scores(ring_ + at, s);
      at = after(at);
      __syncwarp();
      start(kSlots % 2 == 1);
      uint32_t p[2];
      soften(tile * kManyTile, s, p);
      wait_copies<kSlots - 1>();
      __syncwarp();
      add_values(ring_ + at, p);
      at = after(at);
      __syncwarp();
      start(kSlots % 2 == 0);
    }
    wait_copies<0>();
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int d = 4; d < 32; d *= 2) sum_[i] += __shfl_xor_sync(0xffffffffu, sum_[i], d);
  }

  // Eight elements at an address of shared memory and so many bytes, as they are.
  using Eight = std::conditional_t<KV == Kv::f8, uint2, uint4>;
  template <int BYTES>
  __device__ static Eight eight(uint32_t from) {
    Eight v;
    if constexpr (KV == Kv::f8)
      asm volatile("ld.shared.v2.u32 {%0, %1}, [%2+%3];"
                   : "=r"(v.x), "=r"(v.y)
                   : "r"(from), "n"(BYTES)
                   : "memory");
    else
      asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4+%5];"
                   : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                   : "r"(from), "n"(BYTES)
                   : "memory");
    return v;
  }
  // As four words.
  __device__ static void words(const Eight& v, uint32_t (&w)[4]) {
    if constexpr (KV == Kv::f8) {
      widen(v.x, w[0], w[1]);
      widen(v.y, w[2], w[3]);
    } else {
      w[0] = v.x, w[1] = v.y, w[2] = v.z, w[3] = v.w;
    }
  }
  __device__ static void widen(uint32_t codes, uint32_t& low, uint32_t& high) {
    low = widen_f8(static_cast<uint16_t>(codes));
    high = widen_f8(static_cast<uint16_t>(codes >> 16));
  }
  // The same eight elements of two rows, as words of one of each.
  __device__ static void paired_words(const Eight& x, const Eight& y, uint32_t (&w)[8]) {
    if constexpr (KV == Kv::f8) {
      widen(__byte_perm(x.x, y.x, 0x5140), w[0], w[1]);
      widen(__byte_perm(x.x, y.x, 0x7362), w[2], w[3]);
      widen(__byte_perm(x.y, y.y, 0x5140), w[4], w[5]);
      widen(__byte_perm(x.y, y.y, 0x7362), w[6], w[7]);
    } else {
      const uint32_t a[4] = {x.x, x.y, x.z, x.w}, b[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        w[2 * i] = __byte_perm(a[i], b[i], 0x5410);
        w[2 * i + 1] = __byte_perm(a[i], b[i], 0x7632);
      }
    }
  }

  // Of keys g and g + 8 of a tile and rows 2t and 2t + 1.
  __device__ void scores(uint32_t tile, float (&s)[4]) const {
    float more[4] = {};  // two chains
#pragma unroll
    for (int e = 0; e < 4; ++e) s[e] = 0;
#pragma unroll
    for (int c = 0; c < HD / 32; ++c) {
      uint32_t ka[4], kb[4];
      const uint32_t from = (tile + k_get_) ^ (32 * c * kBytes);  // rows are whole powers of two
      words(eight<0>(from), ka);
      words(eight<8 * kRowBytes>(from), kb);
      mma<kBf16Keys<KV>>(s, ka[0], kb[0], ka[1], kb[1], q_[c].x, q_[c].y);
      mma<kBf16Keys<KV>>(more, ka[2], kb[2], ka[3], kb[3], q_[c].z, q_[c].w);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) s[e] += more[e];
  }

  // Scores of the tile from key j0 on to probabilities, as operands.
  __device__ void soften(int j0, float (&s)[4], uint32_t (&p)[2]) {
    if (j0 + kManyTile > stale_ + 1) {  // not every row sees every key
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (j0 + g_ + e / 2 * 8 > last_[e % 2]) s[e] = -INFINITY;
    }
    float most[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) most[i] = fmaxf(most_[i], fmaxf(s[i], s[i + 2]));
#pragma unroll
    for (int d = 4; d < 32; d *= 2)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        most[i] = fmaxf(most[i], __shfl_xor_sync(0xffffffffu, most[i], d));
    if (__any_sync(0xffffffffu, most[0] > most_[0] || most[1] > most_[1])) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float shrink = exp2_fast((most_[i] - most[i]) * m_.scale);
        most_[i] = most[i];
        sum_[i] *= shrink;
#pragma unroll
        for (int mt = 0; mt < HD / 16; ++mt) {
          out_[mt][i] *= shrink;
          out_[mt][i + 2] *= shrink;
        }
      }
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) s[e] = exp2_fast(fmaf(s[e], m_.scale, -most_[e % 2] * m_.scale));
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum_[i] += s[i] + s[i + 2];
      p[i] = transposed(pack2<kBf16Values<KV>>(s[2 * i], s[2 * i + 1]));
    }
  }

  // Output tile 4 * b + i of 16 dimensions: 64 * b + 8 * g + 2 * i and the one after it; keys 2t,
  // 2t + 1 and those eight later.
  __device__ void add_values(uint32_t tile, const uint32_t (&p)[2]) {
#pragma unroll
    for (int b = 0; b < HD / 64; ++b) {
      uint32_t low[8], high[8];
      const uint32_t from = (tile + v_get_) ^ (64 * b * kBytes);
      paired_words(eight<0>(from), eight<kRowBytes>(from), low);
      paired_words(eight<8 * kRowBytes>(from), eight<9 * kRowBytes>(from), high);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        mma<kBf16Values<KV>>(out_[4 * b + i], low[2 * i], low[2 * i + 1], high[2 * i],
                             high[2 * i + 1], p[0], p[1]);
    }
  }

  // A lane has eight outputs of each 64, of two rows.
  __device__ void write(int row_from, int rows) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (2 * t_ + i >= rows) continue;
      const int row = row_from + 2 * t_ + i, query = query_of(row);
      const float scale = __fdividef(a_.v_scale, sum_[i]);
      auto* y = static_cast<uint16_t*>(a_.y.data) + (begin_ + query) * a_.y.stride +
                head_of(row, query) * HD + 8 * g_;
#pragma unroll
      for (int b = 0; b < HD / 64; ++b) {
        float x[8];
#pragma unroll
        for (int e = 0; e < 8; ++e) x[e] = out_[4 * b + e / 2][i + e % 2 * 2] * scale;
        *reinterpret_cast<uint4*>(y + 64 * b) = narrow8<BF16>(x);
      }
    }
  }

  const ManyArg& m_;
  const AttentionArg& a_;
  const uint32_t ring_;  // in shared memory
  float2* const angles_;
  const int seq_, kv_head_, lane_, g_, t_;
  // This lane's places in a tile of K and of V: what it copies, what it reads.
  int k_put_, v_put_, k_get_, v_get_;
  // Of the sequence: its tokens in the step, its context after it. Of the pass: keys that are
  // there, of them those before its own; tiles. The next tile of K to be asked for, the slot for
  // what comes next; of the last one asked for where it lies, its keys.
  int begin_ = 0, queries_ = 0, length_ = 0, known_ = 0, stale_ = 0, tiles_ = 0;
  int asked_ = 0, put_ = 0, left_ = 0;
  uint64_t from_ = 0;
  uint32_t places_ = 0, more_places_ = 0;
  uint4 q_[HD / 32];
  float most_[2], sum_[2], out_[HD / 16][4];
  int last_[2];
};

template <int HD, Kv KV, bool BF16>
__global__ __launch_bounds__(kManyThreads, 4) void many_kernel(const __grid_constant__ ManyArg m) {
  extern __shared__ __align__(1024) uint8_t memory[];
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int unit = static_cast<int>(blockIdx.x) * kManyWarps + warp;
  let_next_start();
  wait_for_previous();
  if (unit >= m.step.sequences * m.a.kv_heads) return;
  using Warp = LoneWarp<HD, KV, BF16>;
  Warp(m, memory + warp * Warp::kWarpBytes, unit).run();
}

template <int HD, Kv KV, bool BF16>
void launch_many(const ManyArg& m, cudaStream_t stream) {
  constexpr int kNeeded = kManyWarps * LoneWarp<HD, KV, BF16>::kWarpBytes;
  constexpr int kMost = 228 << 10, kReserved = 1 << 10;  // of a multiprocessor; of it for a block
  const auto kernel = many_kernel<HD, KV, BF16>;
  const int units = m.step.sequences * m.a.kv_heads;
  const int blocks = (units + kManyWarps - 1) / kManyWarps;
  // Blocks that begin while the kernel ahead still runs do not find the same room everywhere: none
  // is to have more of them than its share.
  const int share = (blocks + m.multiprocessors - 1) / m.multiprocessors;
  const int even = kMost / (share > 1 ? share : 2) - kReserved;
  const int shared = even > kNeeded ? even : kNeeded;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  launch_overlapped(kernel, dim3(static_cast<unsigned>(blocks)), dim3(kManyThreads),
                    static_cast<size_t>(shared), stream, m);
}

template <Kv KV, bool BF16>
void many_by_head(const ManyArg& m, cudaStream_t stream) {
  if (m.a.head_dim == 64) return launch_many<64, KV, BF16>(m, stream);
  launch_many<128, KV, BF16>(m, stream);
}

}  // namespace
}  // namespace tokamak::cuda

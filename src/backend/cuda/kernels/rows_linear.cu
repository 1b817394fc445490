// Rows are shared out in groups of 16 (linear_glu: 8 of each weight), which warps hold as A
// operands. A block's groups, cut into pieces of 1 KB, lie one after another; each of its sixteen
// warps takes as many neighbouring pieces as the others, copies them into a ring of its own, ahead
// even of the end of the kernel before, and leaves its sums of each group in shared memory, where
// they are added in the order of the columns.
#include "backend/cuda/kernels/activate.cuh"
#include "backend/cuda/kernels/async_copy.cuh"
#include "backend/cuda/kernels/f8_format.h"
#include "backend/cuda/kernels/launch.cuh"
#include "backend/cuda/kernels/rows_linear.h"
#include "backend/cuda/kernels/stream_codes.cuh"
#include "backend/cuda/kernels/vector.cuh"

namespace tokamak::cuda {
namespace {

constexpr int kWarps = 16, kThreads = kWarps * 32;
constexpr int kManyStages = 6, kFewStages = 2;  // few where x leaves no room for more
constexpr int kHalfPiece = 512;                 // bytes of eight rows
constexpr int kRows = 16, kMaxTokens = 8, kMaxShared = 227 << 10;

enum class Kind { int4, int4_small, int4_row, int8, int8_small, int8_row, f8, plain };
constexpr bool is_int4(Kind k) { return k <= Kind::int4_row; }
constexpr bool has_groups(Kind k) {
  return k != Kind::int4_row && k != Kind::int8_row && k < Kind::f8;
}
constexpr int piece_columns(Kind k) { return is_int4(k) ? 128 : k == Kind::plain ? 32 : 64; }
// Bytes of a piece and of its scales: up to 4 groups' of 16 rows.
constexpr int stage_bytes(Kind k) {
  return 2 * kHalfPiece + (has_groups(k) ? is_int4(k) ? 128 : 64 : 0);
}

// How the weights lie: what a lane adds to its place from piece to piece, eight rows to the next.
struct Plan {
  int groups = 0, pieces = 0;  // groups of all rows; pieces of a group
  int shares = 0, x_stride = 0, x_bytes = 0, chunks = 0;
  uint32_t eights = 2;         // of rows of the first weight in a group
  uint32_t inner = 1;          // that lie side by side
  uint32_t inner_bytes = 0;    // from one of them to the next
  int64_t outer_bytes = 0;     // and from the first of them to the first of the next
  int64_t second = 0;          // from the first eight rows of a group to its second
  uint32_t row_bytes = 0;      // from row to row within eight
  uint32_t even = 0, odd = 0;  // from a piece to the next
  uint32_t scales = 0, scale_even = 0, scale_odd = 0;  // likewise; from the first rows' codes
  int64_t scale_second = 0;
  const float *row_scales = nullptr, *row_scales_b = nullptr;  // of rows, f8: [n]
};
struct Task {
  RowsLinearArg a;
  Plan p;
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Scales of 32 columns each.
constexpr bool is_small(Kind k) { return k == Kind::int4_small || k == Kind::int8_small; }

// A place among the pieces, and where this lane's part of it lies.
template <Kind KIND>
struct Place {
  const Plan& p;
  const uint8_t* const base;  // of this lane
  const uint8_t* scale_base;
  int group, piece;
  const uint8_t *codes, *scales;

  __device__ Place(const RowsLinearArg& a, const Plan& plan, int group_, int piece_)
      : p(plan),
        base(a.w + (KIND < Kind::f8 ? threadIdx.x % 32 * 16
                                    : threadIdx.x % 32 / 4 * p.row_bytes + threadIdx.x % 4 * 16)),
        scale_base(a.w + p.scales + threadIdx.x % 32 / 2 * (StreamFormat::kRows * 2) +
                   threadIdx.x % 2 * p.scale_second),
        group(group_),
        piece(piece_) {
    find();
    const int pairs = piece / 2;
    codes += int64_t{pairs} * (p.even + p.odd) + (piece % 2) * p.even;
    if constexpr (has_groups(KIND))
      scales += int64_t{pairs} * (p.scale_even + p.scale_odd) + (piece % 2) * p.scale_even;
  }
  __device__ void find() {
    const uint32_t eight = group * p.eights;
    const uint32_t outer = p.inner == 8 ? eight / 8 : eight, inner = p.inner == 8 ? eight % 8 : 0;
    const int64_t at = outer * p.outer_bytes;
    codes = base + at + inner * p.inner_bytes;
    if constexpr (has_groups(KIND)) scales = scale_base + at + inner * 16;
  }
  __device__ void next() {
    const bool was_odd = piece % 2;
    if (++piece == p.pieces) {
      piece = 0;
      ++group;
      find();
      return;
    }
    if constexpr (KIND == Kind::int8 || KIND == Kind::int8_small || KIND == Kind::int8_row) {
      codes += was_odd ? p.odd : p.even;
      if constexpr (has_groups(KIND)) scales += was_odd ? p.scale_odd : p.scale_even;
    } else {
      codes += p.even;
      if constexpr (has_groups(KIND)) scales += p.scale_even;
    }
  }
  __device__ void copy(uint32_t stage) const {
    const int lane = threadIdx.x % 32;
    copy16_ahead(stage + lane * 16, codes);
    copy16_ahead(stage + kHalfPiece + lane * 16, codes + p.second);
    if constexpr (has_groups(KIND))
      if (lane < p.chunks) copy16_ahead(stage + 2 * kHalfPiece + lane * 16, scales);
  }
};

// x in the order in which lanes take it as B operands: of every 32 columns c, lane t of four has 16
// bytes: 2t, 2t + 1, 2t + 8, 2t + 9, and those 16 further on; with plain weights as it is.
template <Kind KIND>
__device__ inline void store_x(char* shared, int v, const uint4& w) {
  if constexpr (KIND == Kind::plain) {
    *reinterpret_cast<uint4*>(shared + v * 16) = w;
    return;
  }
  auto* to = reinterpret_cast<uint32_t*>(shared + v / 4 * 64 + v % 4 * 4);
  const bool swap1 = v & 8, swap2 = v & 16;  // neighbours begin with different banks
  const uint32_t a = swap1 ? w.y : w.x, b = swap1 ? w.x : w.y, c = swap1 ? w.w : w.z,
                 d = swap1 ? w.z : w.w;
  const int first = swap1 ? 4 : 0, second = swap2 ? 8 : 0;
  to[first ^ second] = swap2 ? c : a;
  to[(first ^ 4) ^ second] = swap2 ? d : b;
  to[first ^ second ^ 8] = swap2 ? a : c;
  to[(first ^ 4) ^ second ^ 8] = swap2 ? b : d;
}

// All loads before the first use: of one token some vectors, of more one vector of each.
template <Kind KIND, int BOX>
__device__ inline void load_x(const RowsLinearArg& a, const Plan& p, char* shared) {
  constexpr int kAtOnce = BOX == 1 ? 3 : BOX;
  const int vectors = p.x_stride / 16 - 4, full = static_cast<int>(a.k) / 8;
  const auto* x = static_cast<const uint4*>(a.x.data);
  const int64_t stride = a.x.stride / 8;
#pragma unroll 1
  for (int v0 = threadIdx.x; v0 < vectors; v0 += kThreads * (BOX == 1 ? kAtOnce : 1)) {
    uint4 w[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int v = BOX == 1 ? v0 + i * kThreads : v0, token = BOX == 1 ? 0 : i;
      w[i] = make_uint4(0, 0, 0, 0);
      if (v < full && token < a.tokens) w[i] = __ldcg(x + token * stride + v);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int v = BOX == 1 ? v0 + i * kThreads : v0, token = BOX == 1 ? 0 : i;
      if (v < vectors && token < a.tokens) store_x<KIND>(shared + token * p.x_stride, v, w[i]);
    }
  }
}

template <typename E>
__device__ inline void from_f8(uint32_t w, uint32_t& lo, uint32_t& hi) {
  uint32_t a, b;
  asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.rn.f16x2.e4m3x2 %0, l;\n"
      "cvt.rn.f16x2.e4m3x2 %1, h;\n}"
      : "=r"(a), "=r"(b)
      : "r"(w));
  if constexpr (kIsHalf<E>) {
    lo = a, hi = b;
  } else {
    const auto wide = [](uint32_t h) {
      const float2 f = __half22float2(*reinterpret_cast<const __half2*>(&h));
      const __nv_bfloat162 v = __floats2bfloat162_rn(f.x, f.y);
      return *reinterpret_cast<const uint32_t*>(&v);
    };
    lo = wide(a), hi = wide(b);
  }
}

// Sums of 16 rows: row g of tokens 2t, 2t + 1, row g + 8 of the same.
template <typename E, Kind KIND>
__device__ inline void add_piece(uint32_t stage, uint32_t x, uint32_t next_half, float (&c)[4]) {
  const uint32_t lane = threadIdx.x % 32;
  if constexpr (KIND == Kind::plain) {
    const uint4 v = load_shared16(stage + lane * 16),
                u = load_shared16(stage + kHalfPiece + lane * 16);
    const uint4 b = load_shared16(x);
    const uint32_t w[2][4] = {{v.x, u.x, v.y, u.y}, {v.z, u.z, v.w, u.w}};
    mma_halves<E>(c, w[0], b.x, b.y);
    mma_halves<E>(c, w[1], b.z, b.w);
    return;
  }
  constexpr int kHalves = is_int4(KIND) ? 2 : 1, kBits = is_int4(KIND) ? 4 : 8;  // of 64 columns
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    uint32_t codes[2][kBits / 2];
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      if constexpr (kBits == 8) {
        const uint4 v = load_shared16(stage + row * kHalfPiece + lane * 16);
        codes[row][0] = v.x, codes[row][1] = v.y, codes[row][2] = v.z, codes[row][3] = v.w;
      } else {
        asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];"
                     : "=r"(codes[row][0]), "=r"(codes[row][1])
                     : "r"(stage + row * kHalfPiece + half * 256 + lane * 8));
      }
    }
    float sum[2][4] = {};
#pragma unroll
    for (int part = 0; part < 2; ++part) {  // 32 columns
      uint32_t w[2][4];
      if constexpr (KIND == Kind::f8) {
#pragma unroll
        for (int row = 0; row < 2; ++row) {
          from_f8<E>(codes[row][2 * part], w[0][row], w[0][row + 2]);
          from_f8<E>(codes[row][2 * part + 1], w[1][row], w[1][row + 2]);
        }
      } else {
        Product<E, kBits, 0, 1>::widen(codes, part, w);
      }
      const uint4 b = load_shared16(x + half * 128 + part * 64);
      float(&s)[4] = has_groups(KIND) ? sum[is_small(KIND) ? part : 0] : c;
      mma_halves<E>(s, w[0], b.x, b.y);
      mma_halves<E>(s, w[1], b.z, b.w);
    }
    if constexpr (has_groups(KIND)) {
      const uint32_t scales = stage + 2 * kHalfPiece + half * next_half + lane / 4 * 2;
#pragma unroll
      for (int part = 0; part < (is_small(KIND) ? 2 : 1); ++part)
#pragma unroll
        for (int row = 0; row < 2; ++row) {
          const float d = load_shared_half(scales + part * 32 + row * 16);
          c[2 * row] += d * sum[part][2 * row];
          c[2 * row + 1] += d * sum[part][2 * row + 1];
        }
    }
  }
}

// A block's groups, and the part of their pieces that each warp has.
struct Shares {
  unsigned first, groups, pieces, total;
  __device__ Shares(const Plan& p) : pieces(p.pieces) {
    const unsigned less = p.groups / gridDim.x, more = p.groups % gridDim.x;
    first = blockIdx.x * less + min(blockIdx.x, more);
    groups = less + (blockIdx.x < more);
    total = groups * pieces;
  }
  __device__ unsigned begin(unsigned warp) const { return total * warp / kWarps; }
  __device__ unsigned warp_of(unsigned piece) const { return ((piece + 1) * kWarps - 1) / total; }
};

// An output of this block: where its sums will be, and what it takes besides them.
template <Kind KIND, int BOX>
struct Output {
  int slot, next, count;  // of the first warp's sum, the second's; of warps that have some
  int token, n;
  float scale = 1, scale_b = 1, bias = 0, bias_b = 0, residual = 0;

  // i: of the outputs of the block, token by token
  __device__ Output(const RowsLinearArg& a, const Plan& p, const Shares& s, unsigned i) {
    const unsigned rows = a.w_b ? 8 : 16, all = s.groups * rows;
    token = 0;
    while (BOX > 1 && i >= all && token < a.tokens) i -= all, ++token;
    n = static_cast<int>(s.first * rows + i);
    count = 0;
    if (token >= a.tokens || i >= all || n >= a.n) return;
    const unsigned local = i / rows, begin = local * s.pieces;
    const unsigned warp = s.warp_of(begin);
    count = static_cast<int>(s.warp_of(begin + s.pieces - 1) - warp + 1);
    // The first warp may have begun with an earlier group; all others begin with this one.
    slot = (warp * p.shares + local - s.begin(warp) / s.pieces) * BOX * kRows + token * kRows +
           i % rows;
    next = ((warp + 1) * p.shares) * BOX * kRows + token * kRows + i % rows;
  }
  __device__ float sum(const Plan& p, const float* sums, int row) const {
    float v = sums[slot + row];
    for (int w = 1; w < count; ++w) v += sums[next + row + (w - 1) * p.shares * BOX * kRows];
    return v;
  }
  static __device__ float row_scale(const RowsLinearArg& a, const Plan& p, const uint8_t* w,
                                    int n) {
    return __ldg(
        reinterpret_cast<const float*>(w + n / StreamFormat::kRows * p.outer_bytes + p.scales) +
        n % StreamFormat::kRows);
  }
  __device__ void read_weights(const RowsLinearArg& a, const Plan& p) {
    if (!count) return;
    if constexpr (KIND == Kind::f8) {
      scale = __ldg(p.row_scales + n);
      if (a.w_b) scale_b = __ldg(p.row_scales_b + n);
    } else if constexpr (KIND == Kind::int4_row || KIND == Kind::int8_row) {
      scale = row_scale(a, p, a.w, n);
      if (a.w_b) scale_b = row_scale(a, p, a.w_b, n);
    }
  }
  __device__ void read_rest(const RowsLinearArg& a) {
    if (!count) return;
    if (a.bias.data) bias = load_activation(a.bias, 0, n);
    if (a.bias_b.data) bias_b = load_activation(a.bias_b, 0, n);
    if (a.residual.data) residual = load_activation(a.residual, token, n);
  }
  __device__ void write(const RowsLinearArg& a, const Plan& p, const float* sums) const {
    if (!count) return;
    float v = apply(a.activation, sum(p, sums, 0) * scale + bias);
    if (a.w_b) v *= sum(p, sums, 8) * scale_b + bias_b;
    store_activation(a.y, token, n, v + residual);
  }
};

#endif

template <typename E, Kind KIND, int BOX, int kStages>
__global__ __launch_bounds__(kThreads, 1) void rows_kernel(const __grid_constant__ Task task) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ char dynamic[];
  const RowsLinearArg& a = task.a;
  const Plan& p = task.p;
  char* xs = dynamic;
  float* sums = reinterpret_cast<float*>(dynamic + p.x_bytes);
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  constexpr int kStage = stage_bytes(KIND);
  const uint32_t ring =
      shared_address(sums + kWarps * p.shares * BOX * kRows) + warp * kStages * kStage;
  let_next_start();
  const Shares share(p);
  const unsigned begin = share.begin(warp), end = share.begin(warp + 1);
  const unsigned begin_group = begin / share.pieces;
  unsigned piece = begin - begin_group * share.pieces;

  Place<KIND> ahead(a, p, share.first + begin_group, piece);
  unsigned issued = begin;
  const auto fetch = [&](uint32_t stage) {
    if (issued < end) {
      ahead.copy(stage);
      ahead.next();
      ++issued;
    }
    commit_copies();
  };
#pragma unroll 1
  for (int i = 0; i < kStages; ++i) fetch(ring + i * kStage);
  Output<KIND, BOX> output(a, p, share, threadIdx.x);
  output.read_weights(a, p);
  wait_for_previous();
  load_x<KIND, BOX>(a, p, xs);
  output.read_rest(a);
  __syncthreads();

  const unsigned token = BOX == 1 ? 0 : min(lane / 4, a.tokens - 1);
  const uint32_t x0 = shared_address(xs) + token * p.x_stride + lane % 4 * 16;
  uint32_t x = x0 + piece * (piece_columns(KIND) * 2), stage = ring;
  const uint32_t next_half = is_small(KIND) ? 64 : p.chunks == 4 ? 32 : 0;
  float* to =
      sums + warp * p.shares * BOX * kRows + lane / 4 + (BOX == 1 ? 0 : lane % 4 * 2 * kRows);
  float c[4] = {};
  const auto leave_sums = [&] {
    if constexpr (BOX == 1) {
      if (lane % 4 == 0) to[0] = c[0], to[8] = c[2];
    } else {
      to[0] = c[0], to[kRows] = c[1], to[8] = c[2], to[kRows + 8] = c[3];
    }
  };
  if (begin == end) leave_sums();  // zeros
#pragma unroll 1
  for (unsigned i = begin; i < end; ++i) {
    wait_copies<kStages - 1>();
    __syncwarp();
    add_piece<E, KIND>(stage, x, next_half, c);
    x += piece_columns(KIND) * 2;
    __syncwarp();
    fetch(stage);
    stage = stage == ring + (kStages - 1) * kStage ? ring : stage + kStage;
    if (++piece == share.pieces || i + 1 == end) {
      leave_sums();
      c[0] = c[1] = c[2] = c[3] = 0;
      piece = 0;
      x = x0;
      to += BOX * kRows;
    }
  }
  __syncthreads();
  const unsigned outputs = share.groups * (a.w_b ? 8 : 16) * a.tokens;
#pragma unroll 1
  for (unsigned i = threadIdx.x;;) {
    output.write(a, p, sums);
    i += kThreads;
    if (i >= outputs) break;
    output = Output<KIND, BOX>(a, p, share, i);
    output.read_weights(a, p);
    output.read_rest(a);
  }
#endif
}

Kind kind_of(RowsWeights weights, const StreamFormat& f) {
  if (weights == RowsWeights::f8) return Kind::f8;
  if (weights == RowsWeights::plain) return Kind::plain;
  if (f.bits == 4)
    return f.group == 0 ? Kind::int4_row : f.group == 32 ? Kind::int4_small : Kind::int4;
  return f.group == 0 ? Kind::int8_row : f.group == 32 ? Kind::int8_small : Kind::int8;
}
int64_t padded_columns(Kind kind, const StreamFormat& f, int64_t k) {
  return kind < Kind::f8 ? f.blocks(k) * StreamFormat::kColumns : k;
}
int64_t groups_of(int64_t n, bool glu) { return glu ? (n + 7) / 8 : (n + 15) / 16; }
// Groups of which a warp may have a part.
int shares_of(int64_t n, bool glu, int blocks) {
  const int64_t most = (groups_of(n, glu) + blocks - 1) / blocks;
  return static_cast<int>((most + kWarps - 1) / kWarps) + 1;
}
int shared_bytes(Kind kind, int x_stride, int tokens, int shares, int stages) {
  const int box = tokens == 1 ? 1 : kMaxTokens;
  return (tokens * x_stride + 127) / 128 * 128 + kWarps * shares * box * kRows * 4 +
         kWarps * stages * stage_bytes(kind);
}
// A token of x in shared memory: tokens begin in different halves of the banks.
int stride_of(Kind kind, const StreamFormat& f, int64_t k) {
  return static_cast<int>(padded_columns(kind, f, k)) * 2 + 64;
}

Plan plan(const RowsLinearArg& a, Kind kind, int blocks) {
  const StreamFormat& f = a.format;
  const bool glu = a.w_b != nullptr;
  Plan p;
  p.groups = static_cast<int>(groups_of(a.n, glu));
  p.pieces = static_cast<int>(padded_columns(kind, f, a.k)) / piece_columns(kind);
  p.eights = glu ? 1 : 2;
  p.shares = shares_of(a.n, glu, blocks);
  p.x_stride = stride_of(kind, f, a.k);
  p.x_bytes = (a.tokens * p.x_stride + 127) / 128 * 128;
  const auto u32 = [](int64_t v) { return static_cast<uint32_t>(v); };
  if (kind < Kind::f8) {
    p.inner = 8;
    p.inner_bytes = u32(f.unit_bytes());
    p.outer_bytes = f.tile_bytes(a.k);
    const uint32_t block = u32(f.block_bytes()), half = kHalfPiece;
    p.even = is_int4(kind) ? block : half;
    p.odd = is_int4(kind) ? block : block - half;
    p.second = glu ? a.w_b - a.w : f.unit_bytes();
    p.scales = u32(f.group == 0 ? f.blocks(a.k) * f.block_bytes() : f.code_bytes());
    if (has_groups(kind)) {
      const uint32_t in_half = f.group >= 128 ? 0 : u32(64 / f.group * StreamFormat::kRows * 2);
      p.scale_even = is_int4(kind) ? block : in_half;
      p.scale_odd = is_int4(kind) ? block : block - in_half;
      p.scale_second = glu ? a.w_b - a.w : 16;
      p.chunks = 2 * std::max(1, piece_columns(kind) / f.group);
    }
  } else {
    const int64_t bytes = kind == Kind::f8 ? a.k : 2 * a.k;
    p.row_bytes = u32(bytes);
    p.inner = 1;
    p.inner_bytes = u32(8 * bytes);
    p.outer_bytes = 8 * bytes;
    p.even = p.odd = 64;
    p.second = glu ? a.w_b - a.w : 8 * bytes;
    if (kind == Kind::f8) {
      const size_t at = F8Format::scales_at(a.n, a.k);
      p.row_scales = reinterpret_cast<const float*>(a.w + at);
      if (glu) p.row_scales_b = reinterpret_cast<const float*>(a.w_b + at);
    }
  }
  return p;
}

template <typename E, Kind KIND, int BOX, int STAGES>
void launch(const Task& t, int shared, int multiprocessors, cudaStream_t stream) {
  if (shared < kAloneBytes) shared = kAloneBytes;
  const auto kernel = rows_kernel<E, KIND, BOX, STAGES>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  launch_overlapped(kernel, dim3(static_cast<unsigned>(std::min(t.p.groups, multiprocessors))),
                    dim3(kThreads), static_cast<size_t>(shared), stream, t);
}

template <typename E, Kind KIND>
void by_tokens(const RowsLinearArg& a, int multiprocessors, cudaStream_t stream) {
  const Task t{a, plan(a, KIND, multiprocessors)};
  const int many = shared_bytes(KIND, t.p.x_stride, a.tokens, t.p.shares, kManyStages);
  const int few = shared_bytes(KIND, t.p.x_stride, a.tokens, t.p.shares, kFewStages);
  if (a.tokens == 1) return launch<E, KIND, 1, kManyStages>(t, many, multiprocessors, stream);
  if (many <= kMaxShared)
    return launch<E, KIND, kMaxTokens, kManyStages>(t, many, multiprocessors, stream);
  launch<E, KIND, kMaxTokens, kFewStages>(t, few, multiprocessors, stream);
}

template <typename E>
void by_kind(const RowsLinearArg& a, int multiprocessors, cudaStream_t stream) {
  switch (kind_of(a.weights, a.format)) {
    case Kind::int4:
      return by_tokens<E, Kind::int4>(a, multiprocessors, stream);
    case Kind::int4_small:
      return by_tokens<E, Kind::int4_small>(a, multiprocessors, stream);
    case Kind::int4_row:
      return by_tokens<E, Kind::int4_row>(a, multiprocessors, stream);
    case Kind::int8:
      return by_tokens<E, Kind::int8>(a, multiprocessors, stream);
    case Kind::int8_small:
      return by_tokens<E, Kind::int8_small>(a, multiprocessors, stream);
    case Kind::int8_row:
      return by_tokens<E, Kind::int8_row>(a, multiprocessors, stream);
    case Kind::f8:
      return by_tokens<E, Kind::f8>(a, multiprocessors, stream);
    case Kind::plain:
      return by_tokens<E, Kind::plain>(a, multiprocessors, stream);
  }
}

}  // namespace

int rows_linear_tokens(RowsWeights weights, const StreamFormat& f, int64_t n, int64_t k, bool glu,
                       int multiprocessors) {
  const Kind kind = kind_of(weights, f);
  if (f.has_min || k % 8 != 0) return 0;
  if (kind >= Kind::f8 && (k % piece_columns(kind) != 0 || n % (glu ? 8 : 16) != 0)) return 0;
  const int stride = stride_of(kind, f, k), shares = shares_of(n, glu, multiprocessors);
  for (int tokens = kMaxTokens; tokens > 0; tokens /= 2)
    if (shared_bytes(kind, stride, tokens, shares, tokens == 1 ? kManyStages : kFewStages) <=
        kMaxShared)
      return tokens;
  return 0;
}

void rows_linear(const RowsLinearArg& a, int multiprocessors, cudaStream_t stream) {
  if (a.tokens == 0) return;
  if (a.dtype == DType::bf16) return by_kind<__nv_bfloat16>(a, multiprocessors, stream);
  by_kind<__half>(a, multiprocessors, stream);
}

}  // namespace tokamak::cuda

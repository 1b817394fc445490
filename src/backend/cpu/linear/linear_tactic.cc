#include "backend/cpu/linear/linear_tactic.h"

#include <algorithm>

#include "backend/cpu/linear/linear_use.h"
#include "backend/cpu/linear/rows16_layout.h"
#include "backend/cpu/linear/streaming.h"

namespace tokamak {
namespace {

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

// How rows of activations are cut into tiles: full ones of the widest width, then one that fits the
// rest.
struct Tiling {
  int width = 0, last_width = 0, last_index = 0;  // of the last tile: its place in widths[]
  int full_index = 0;
  int64_t tiles = 0;
};

Tiling tiling_of(const LinearKernels& kernels, int64_t rows) {
  Tiling t;
  for (int i = 0; i < kTileWidths && kernels.widths[i] > 0; ++i) t.full_index = i;
  t.width = kernels.widths[t.full_index];
  t.tiles = (rows + t.width - 1) / t.width;
  const auto rest = static_cast<int>(rows - (t.tiles - 1) * t.width);
  while (kernels.widths[t.last_index] < rest) ++t.last_index;
  t.last_width = kernels.widths[t.last_index];
  return t;
}

// Bytes of one token's activations in a packed tile.
size_t packed_row_bytes(LinearMath math, const LinearKernels& kernels, const LinearWeights& w) {
  const auto n = static_cast<size_t>(w.k);
  if (math == LinearMath::f32) return n * 4;
  if (math == LinearMath::bf16) return (n + 1) / 2 * 4;
  return static_cast<size_t>(kernels.words(w, w.k / 32)) * 4;
}

constexpr int kSpan = 8;     // blocks with one activation scale; their integer sums fit an int32
constexpr int kRowSpan = 4;  // the same of int8 activations where weights are scaled per row

// With int16 a wide span costs no accuracy that float32 has; int8 follows the weight's groups (over
// 256 inputs it would cost three times the perplexity).
LinearWeights weights_of(DType t, int64_t k, LinearMath math) {
  LinearWeights w;
  w.k = k;
  w.group_bytes = rows16_group_bytes(t, k);
  if (!rows16_is_block(t)) return w;
  const Rows16Format f = rows16_format(t);
  w.scale_bytes = rows16_scales(t, k);
  w.record_bytes = f.scale_inputs == 0 ? 0 : f.scale_bytes;
  const bool single = math == LinearMath::int8;
  w.run = f.scale_inputs == 0 ? (single ? kRowSpan : kSpan)
                              : (f.scale_inputs == 256 ? 1 : f.scale_inputs / 32);
  w.span = single ? w.run : kSpan;
  return w;
}

// Everything about one use that does not change between launches.
struct LinearShape {
  const LinearKernels* kernels = nullptr;
  LinearMath math = LinearMath::f32;
  LinearAttrs attrs;
  bool glu = false;
  DType bias_dtype = DType::f32;
  Dim rows = 1;
  int64_t n = 0, groups = 0;
  LinearWeights weights;
  LinearTileFn tile[kTileWidths] = {};
  size_t row_bytes = 0;
  int64_t input_bytes = 0;  // of one input of a token in a tile
  size_t cache_bytes = 0;   // weights that one worker keeps while tokens pass
};

constexpr size_t kAccFloats = 4 * kMaxTileWidth * 16;  // sums of one call, per weight
constexpr int64_t kPackStep = 256;                     // spans do not cross multiples of it
constexpr int64_t kPackInputs = 512;                   // inputs that one packing task handles
constexpr int64_t kStretchBytes = 24 << 10;            // of a tile's activations in the first cache
constexpr int64_t kMinTaskBytes = 12 << 10;            // weights worth a task of their own
constexpr int64_t kTasks = 12;                         // a worker, so that all end together
constexpr int64_t kStreamTiles = 8;                    // that stream the weights in turns
constexpr int kSideBySide = 4;                         // groups that a tile may read at once
constexpr size_t kNearBytes = 48 << 10;  // a first cache that holds what is asked for ahead

class LinearKernel final : public Kernel {
 public:
  explicit LinearKernel(const LinearShape& s) : s_(s) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    auto& e = static_cast<CpuExec&>(exec);
    const int64_t rows = s_.rows.resolve(args.step->tokens, args.step->logit_rows);
    if (rows == 0) return;
    const Tiling tiling = tiling_of(*s_.kernels, rows);
    const std::byte* x = pack_rows(args, e, rows, tiling);
    if (tiling.tiles <= kStreamTiles) {
      stream(args, e, rows, tiling, x);
      return;
    }
    const Cut cut = cut_work(e.workers, tiling);
    const int64_t tasks = cut.group_tasks * cut.tile_tasks;
    for (int64_t task = e.next_task(); task < tasks; task = e.next_task()) {
      const int64_t g = task / cut.tile_tasks * cut.groups;
      const int64_t t = task % cut.tile_tasks * cut.tiles;
      run_task(args, rows, tiling, x, {g, std::min(g + cut.groups, s_.groups), nullptr}, t,
               std::min(t + cut.tiles, tiling.tiles));
    }
  }

 private:
  struct Groups {
    int64_t begin, end;
    const std::byte* next;  // what is read after them; null: what lies there
  };
  struct Cut {
    int64_t groups, tiles;            // of one task
    int64_t group_tasks, tile_tasks;  // their numbers
  };

  static int64_t groups_at_once(int width) {
    return static_cast<int64_t>(kAccFloats) / (16 * width);
  }
  size_t tile_stride(const Tiling& t) const {
    return round_up(s_.row_bytes * static_cast<size_t>(t.width), 64);
  }

  // A single row costs less to pack than to wait for: every worker packs its own copy.
  const std::byte* pack_rows(const LaunchArgs& args, CpuExec& e, int64_t rows,
                             const Tiling& tiling) const {
    const auto* x = args.in[0].as<const float>();
    if (rows == 1) {
      if (s_.math == LinearMath::f32) return args.in[0].data;
      std::byte* own = args.workspace + round_up(s_.row_bytes, 64) * static_cast<size_t>(e.worker);
      s_.kernels->pack(s_.weights, x, 0, 1, 1, 0, s_.weights.k, own);
      return own;
    }
    const int64_t stride = args.in[0].row_stride;
    const int64_t parts = (s_.weights.k + kPackInputs - 1) / kPackInputs;
    for (int64_t i = e.next_task(); i < tiling.tiles * parts; i = e.next_task()) {
      const int64_t tile = i / parts, begin = i % parts * kPackInputs, first = tile * tiling.width;
      const int width = tile + 1 == tiling.tiles ? tiling.last_width : tiling.width;
      s_.kernels->pack(s_.weights, x + first * stride, stride,
                       static_cast<int>(std::min<int64_t>(width, rows - first)), width, begin,
                       std::min(begin + kPackInputs, s_.weights.k),
                       args.workspace + static_cast<size_t>(tile) * tile_stride(tiling));
    }
    e.barrier();
    return args.workspace;
  }

  // Few tokens: little to compute.
  void stream(const LaunchArgs& args, CpuExec& e, int64_t rows, const Tiling& tiling,
              const std::byte* x) const {
    const auto bytes = static_cast<int64_t>(s_.weights.group_bytes * (s_.glu ? 2 : 1));
    const int64_t least =
        std::max(s_.groups / (int64_t{e.workers} * kTasks), kMinTaskBytes / bytes);
    const auto step = static_cast<int64_t>(round_up(
        static_cast<size_t>(std::max<int64_t>(least, 1)), static_cast<size_t>(kSideBySide)));
    stream_groups(e, s_.groups, step, 1, [&](int64_t begin, int64_t end, const std::byte* next) {
      // Tiles take turns over as few groups as a tile sums at once: only the first meets memory.
      const int64_t most = groups_at_once(tiling.width);
      for (int64_t g = begin; g < end; g += most) {
        const int64_t last = std::min(g + most, end);
        own_outputs(args, 0, rows, g, last - g);
        for (int64_t tile = 0; tile < tiling.tiles; ++tile) {
          const std::byte* then = last == end ? next : nullptr;
          if (tile + 1 < tiling.tiles)
            then = args.in[1].data + static_cast<size_t>(g) * s_.weights.group_bytes;
          run_task(args, rows, tiling, x, {g, last, then}, tile, tile + 1);
        }
      }
    });
  }

  // Enough tasks that workers end together; each keeps its weights in cache while tokens pass. Few
  // groups: tokens are split as well.
  Cut cut_work(int workers, const Tiling& tiling) const {
    const size_t bytes = s_.weights.group_bytes * (s_.glu ? 2 : 1);
    const int64_t wanted = int64_t{workers} * kTasks;
    // Tasks are long: even ends count.
    int64_t groups = std::max<int64_t>(1, s_.groups / (2 * wanted));
    groups = std::min(groups, std::max<int64_t>(1, static_cast<int64_t>(s_.cache_bytes / bytes)));
    const int64_t group_tasks = (s_.groups + groups - 1) / groups;
    const int64_t splits = std::clamp<int64_t>(wanted / group_tasks / 2, 1, tiling.tiles);
    const int64_t tiles = (tiling.tiles + splits - 1) / splits;
    return {groups, tiles, group_tasks, (tiling.tiles + tiles - 1) / tiles};
  }

  void run_task(const LaunchArgs& args, int64_t rows, const Tiling& tiling, const std::byte* x,
                const Groups& of, int64_t tile_begin, int64_t tile_end) const {
    alignas(64) float acc[2][kAccFloats];
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      const bool last = tile + 1 == tiling.tiles;
      const int index = last ? tiling.last_index : tiling.full_index;
      const int width = s_.kernels->widths[index];
      const std::byte* xt = x + static_cast<size_t>(tile) * tile_stride(tiling);
      const int64_t first = tile * tiling.width;
      const auto tokens = static_cast<int>(std::min<int64_t>(width, rows - first));
      const int64_t most = groups_at_once(width);
      for (int64_t g = of.begin; g < of.end; g += most) {
        const int64_t count = std::min(most, of.end - g);
        const auto at = [&](int w, int64_t group) {
          return args.in[1 + static_cast<size_t>(w)].data +
                 static_cast<size_t>(group) * s_.weights.group_bytes;
        };
        const bool ends = of.next != nullptr && g + count == of.end;
        const std::byte* next = ends ? of.next : at(0, g + count);
        sum_groups(at(0, g), count, s_.glu ? at(1, g) : next, xt, index, acc[0]);
        if (s_.glu) sum_groups(at(1, g), count, next, xt, index, acc[1]);
        for (int64_t i = 0; i < count; ++i)
          finish(args, g + i, first, tokens, acc[0] + i * width * 16, acc[1] + i * width * 16);
      }
    }
  }

  // Wide tiles go through the inputs in stretches whose activations stay in the first cache while
  // the groups pass; narrow ones stream the weights as they lie.
  void sum_groups(const std::byte* w, int64_t groups, const std::byte* next, const std::byte* x,
                  int index, float* acc) const {
    const int width = s_.kernels->widths[index];
    const int64_t k = s_.weights.k, inputs = kStretchBytes / (s_.input_bytes * width);
    const int64_t step =
        width <= 4 ? k : std::max<int64_t>(kPackStep, inputs / kPackStep * kPackStep);
    for (int64_t i = 0; i < k; i += step)
      s_.tile[index](s_.weights, w, groups, next, x, i, std::min(i + step, k), acc);
  }

  void finish(const LaunchArgs& args, int64_t group, int64_t first, int tokens, const float* acc_a,
              const float* acc_b) const {
    const int64_t column = group * kGroupRows;
    const LinearFinish f = finish_args(args, s_.attrs, s_.bias_dtype, s_.glu, first, column);
    s_.kernels->finish(f, acc_a, acc_b, tokens,
                       static_cast<int>(std::min<int64_t>(kGroupRows, s_.n - column)));
  }

  const LinearShape s_;
};

using KernelsFor = const LinearKernels* (*)(DType weight, LinearMath math);

// What one core does with one arithmetic at one level; they rank tactics that were not timed.
struct LinearSpeed {
  double operations_per_us;
  double bytes_per_us = 20000;
};

class LinearTactic final : public CpuTactic {
 public:
  LinearTactic(std::string name, Op op, Isa level, const CpuTarget& target, LinearMath math,
               KernelsFor kernels_for, LinearSpeed speed)
      : CpuTactic(std::move(name), op, level, target),
        math_(math),
        kernels_for_(kernels_for),
        speed_(speed) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const LinearShape shape = shape_of(s);
    const Tiling t = tiling_of(*shape.kernels, std::max<int64_t>(tokens, 1));
    const size_t tiles =
        round_up(shape.row_bytes * static_cast<size_t>(t.width), 64) * static_cast<size_t>(t.tiles);
    return std::max(tiles, round_up(shape.row_bytes, 64) * static_cast<size_t>(target_.workers));
  }
  std::string_view weight_layout(const OpSignature&, int input) const override {
    return linear_weight_layout(op(), input);
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    const LinearShape shape = shape_of(s);
    const Tiling t = tiling_of(*shape.kernels, std::max<int64_t>(tokens, 1));
    const auto width = static_cast<double>((t.tiles - 1) * t.width + t.last_width);
    const double weights = (shape.glu ? 2.0 : 1.0) * static_cast<double>(shape.groups);
    const double operations = 2 * weights * 16 * static_cast<double>(shape.weights.k) * width;
    const double us =
        std::max(operations / speed_.operations_per_us,
                 weights * static_cast<double>(shape.weights.group_bytes) / speed_.bytes_per_us);
    return 0.5 + us / target_.workers + 1e-4 * static_cast<double>(shape.weights.k) * width;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<LinearKernel>(shape_of(s));
  }

 protected:
  bool fits(const OpSignature& s) const override {
    if (math_ == LinearMath::int8 && LinearAttrs::from(s.attrs).activation_bits != 8) return false;
    return linear_operands_fit(s) && kernels_for_(s.inputs[1].dtype, math_) != nullptr;
  }

 private:
  LinearShape shape_of(const OpSignature& s) const {
    const ValueType& w = s.inputs[1];
    LinearShape r;
    r.kernels = kernels_for_(w.dtype, math_);
    r.math = math_;
    r.attrs = LinearAttrs::from(s.attrs);
    r.glu = op() == Op::linear_glu;
    if (r.attrs.has_bias) r.bias_dtype = s.inputs[r.glu ? 3 : 2].dtype;
    r.rows = s.inputs[0].shape[0];
    r.n = w.shape[0].size;
    r.groups = (r.n + kGroupRows - 1) / kGroupRows;
    r.weights = weights_of(w.dtype, w.shape[1].size, math_);
    r.weights.ahead_near = target_.l1d_bytes >= kNearBytes;
    r.row_bytes = packed_row_bytes(math_, *r.kernels, r.weights);
    for (int i = 0; i < kTileWidths; ++i) {
      const bool ordered = r.attrs.deterministic && i < 2 && r.kernels->ordered[i] != nullptr;
      r.tile[i] = ordered ? r.kernels->ordered[i] : r.kernels->tile[i];
    }
    constexpr int64_t kInputBytes[] = {4, 2, 2, 1};
    r.input_bytes = kInputBytes[static_cast<size_t>(math_)];
    r.cache_bytes = target_.l2_bytes / 2;
    return r;
  }

  const LinearMath math_;
  const KernelsFor kernels_for_;
  const LinearSpeed speed_;
};

}  // namespace

void add_tuned_linear(CpuRegistry& r) {
  r.add_layout<Rows16Layout>();
  const auto add = [&](std::string_view level_name, Isa level, LinearMath math, KernelsFor kernels,
                       LinearSpeed speed) {
    constexpr std::string_view kMath[] = {"f32", "bf16", "int16", "int8"};
    const std::string tail =
        std::string(kMath[static_cast<size_t>(math)]) + "." + std::string(level_name);
    for (const Op op : {Op::linear, Op::linear_glu})
      r.add<LinearTactic>((op == Op::linear ? "linear." : "linear_glu.") + tail, op, level,
                          r.target, math, kernels, speed);
  };
  add("avx2", Isa::avx2, LinearMath::f32, linear_kernels_avx2, {60000, 18000});
  add("avx2", Isa::avx2, LinearMath::int16, linear_kernels_avx2, {55000, 18000});
  add("avx2", Isa::avx2, LinearMath::int8, linear_kernels_avx2, {110000, 18000});
  add("avx512", Isa::avx512, LinearMath::f32, linear_kernels_avx512, {100000});
  add("avx512", Isa::avx512, LinearMath::int16, linear_kernels_avx512, {80000});
  add("avx512", Isa::avx512, LinearMath::int8, linear_kernels_avx512, {160000});
  add("avx512_vnni", Isa::avx512_vnni, LinearMath::int16, linear_kernels_avx512_vnni, {150000});
  add("avx512_vnni", Isa::avx512_vnni, LinearMath::int8, linear_kernels_avx512_vnni, {300000});
  if (r.target.avx512_bf16)
    add("avx512_bf16", Isa::avx512_vnni, LinearMath::bf16, linear_kernels_avx512_bf16, {220000});
}

}  // namespace tokamak

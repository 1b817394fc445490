#include "backend/cpu/linear/amx_tactic.h"

#include <algorithm>

#include "backend/cpu/linear/amx_int8_linear.h"
#include "backend/cpu/linear/linear_use.h"
#include "backend/cpu/linear/rows16_layout.h"
#include "backend/cpu/linear/streaming.h"

namespace tokamak {
namespace {

constexpr size_t kFewTaskBytes = 48 << 10;  // weights of one task when tokens are few
constexpr int64_t kFewTasks = 6;            // a worker, or more
constexpr int64_t kStreamUnit = 2;          // groups that a worker's share is a multiple of
constexpr size_t kNearBytes = 768 << 10;
constexpr int64_t kNearGroups = 6;  // of one task over activations that are near
constexpr size_t kTile = 1024;

int64_t divide_up(int64_t n, int64_t d) { return (n + d - 1) / d; }

// Everything about one use that does not change between launches.
struct AmxShape {
  const AmxLinearKernels* kernels = nullptr;
  LinearAttrs attrs;
  int weights = 1;
  DType bias_dtype = DType::f32;
  Dim rows = 1;
  int64_t n = 0, k = 0, groups = 0, steps = 0, stretch = 0;
  size_t group_bytes = 0;
  AmxBlocking blocking;
  bool int8 = false;
  // Packed activations of one step and token tile.
  size_t step_bytes() const { return int8 ? kAmxInt8StepBytes : kTile; }
};

// How the tokens of a step and the groups are cut into tasks: at first large ones, which reuse the
// activations most, then small ones, so that workers of unequal speed end together.
struct AmxCut {
  int64_t tiles;                      // token tiles
  int64_t block_tiles, block_tasks;   // of one task, and the blocks' number
  int64_t large, small, large_tasks;  // groups of one task
  int64_t group_tasks;
  size_t x_bytes, panel_bytes, sums_bytes;
  // A single token tile is packed by each worker for itself: sooner done than waited for.
  bool own_x() const { return tiles == 1; }
  // Weights are streamed, in tasks of `large` groups.
  bool few() const { return tiles <= kAmxFewTiles; }
  int64_t tasks() const { return block_tasks * group_tasks; }
  int64_t group_begin(int64_t task) const {
    return std::min(task, large_tasks) * large + std::max<int64_t>(task - large_tasks, 0) * small;
  }
  int64_t group_count(int64_t task) const { return task < large_tasks ? large : small; }
  size_t workspace(int workers) const {
    const auto n = static_cast<size_t>(workers);
    return x_bytes * (own_x() ? n : 1) + (panel_bytes + sums_bytes) * n;
  }
};

// As many tasks for each worker, of whole pairs of at most `most` groups.
int64_t even_share(int64_t groups, int64_t most, int workers) {
  const int64_t rounds = divide_up(groups, most * workers);
  return std::min(most, divide_up(divide_up(groups, rounds * workers), 2) * 2);
}

// The last task of each worker, and what is left over, in smaller ones.
void cut_tail(int64_t groups, int64_t most, int workers, AmxCut& c) {
  c.large = std::min(most, divide_up(divide_up(groups, workers), 2) * 2);
  c.large_tasks = std::max<int64_t>(groups / c.large - workers, 0);
  const int64_t tail = groups - c.large_tasks * c.large;
  c.small = even_share(tail, std::max<int64_t>(c.large / 4 * 2, 2), workers);
  c.group_tasks = c.large_tasks + divide_up(tail, c.small);
}

AmxCut cut_work(const AmxShape& s, int64_t rows, int workers) {
  AmxCut c{};
  c.tiles = divide_up(rows, kAmxTokens);
  c.block_tiles = c.few() ? c.tiles : std::min(c.tiles, s.blocking.tiles);
  c.block_tasks = divide_up(c.tiles, c.block_tiles);
  c.x_bytes = static_cast<size_t>(c.tiles * s.steps) * s.step_bytes();
  if (c.few()) {
    const auto fit = static_cast<int64_t>(kFewTaskBytes / s.group_bytes);
    const int64_t even = s.groups / (kFewTasks * workers), side = s.int8 ? 1 : kAmxSide;
    c.large = std::max(std::min({fit, even, s.blocking.groups}) / side * side, side);
  } else {
    const size_t one = kTile * static_cast<size_t>(c.block_tiles * s.weights);
    const auto fit = static_cast<int64_t>(s.blocking.sums_bytes / one);
    // Activations that stay in the second cache need no reuse within a task.
    const bool near = static_cast<size_t>(c.block_tiles * s.steps) * s.step_bytes() <= kNearBytes;
    cut_tail(s.groups, std::clamp<int64_t>(fit, 2, near ? kNearGroups : s.blocking.groups) / 2 * 2,
             workers, c);
  }
  c.panel_bytes =
      s.int8 ? kAmxInt8ScratchBytes : amx_panel_bytes(s.stretch, s.blocking.panel_groups);
  c.sums_bytes = static_cast<size_t>(s.weights * c.large * c.block_tiles) * kTile;
  return c;
}

class AmxLinearKernel final : public Kernel {
 public:
  explicit AmxLinearKernel(const AmxShape& s) : s_(s) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    auto& e = static_cast<CpuExec&>(exec);
    const int64_t rows = s_.rows.resolve(args.step->tokens, args.step->logit_rows);
    if (rows == 0) return;
    const AmxCut cut = cut_work(s_, rows, e.workers);
    pack_rows(args, e, rows, cut);
    s_.kernels->configure();
    if (cut.few()) {
      stream_groups(e, s_.groups, cut.large, kStreamUnit,
                    [&](int64_t begin, int64_t end, const std::byte* next) {
                      run_task(args, e, rows, cut, 0, begin, end - begin, next);
                    });
    } else {
      for (int64_t i = e.next_task(); i < cut.tasks(); i = e.next_task()) {
        const int64_t part = i % cut.group_tasks, group = cut.group_begin(part);
        run_task(args, e, rows, cut, i / cut.group_tasks, group,
                 std::min(cut.group_count(part), s_.groups - group), nullptr);
      }
    }
    s_.kernels->release();
  }

 private:
  void pack_rows(const LaunchArgs& args, CpuExec& e, int64_t rows, const AmxCut& cut) const {
    const int64_t parts = cut.tiles * divide_up(s_.steps, s_.stretch);
    std::byte* out = args.workspace + x_at(cut, e.worker);
    if (cut.own_x()) {
      for (int64_t i = 0; i < parts; ++i) pack_part(args, rows, cut, i, out);
      return;
    }
    for (int64_t i = e.next_task(); i < parts; i = e.next_task())
      pack_part(args, rows, cut, i, out);
    e.barrier();
  }
  // One stretch of one token tile.
  void pack_part(const LaunchArgs& args, int64_t rows, const AmxCut& cut, int64_t part,
                 std::byte* out) const {
    const auto* x = args.in[0].as<const float>();
    const int64_t stride = args.in[0].row_stride, stretches = divide_up(s_.steps, s_.stretch);
    const int64_t tile = part / stretches, begin = part % stretches * s_.stretch;
    const int64_t end = std::min(begin + s_.stretch, s_.steps), first = tile * kAmxTokens;
    const int64_t place = begin * cut.tiles + tile * (end - begin);
    s_.kernels->pack(x + first * stride, stride,
                     static_cast<int>(std::min<int64_t>(kAmxTokens, rows - first)), s_.k, begin,
                     end, out + static_cast<size_t>(place) * s_.step_bytes());
  }
  // Where a worker finds the packed activations, and behind all of them its own memory.
  static size_t x_at(const AmxCut& cut, int worker) {
    return cut.own_x() ? cut.x_bytes * static_cast<size_t>(worker) : 0;
  }

  // Some groups by one block of token tiles; `next` is read after these weights.
  void run_task(const LaunchArgs& args, const CpuExec& e, int64_t rows, const AmxCut& cut,
                int64_t block, int64_t group, int64_t groups, const std::byte* next) const {
    std::byte* own = args.workspace + x_at(cut, e.workers - 1) + cut.x_bytes +
                     (cut.panel_bytes + cut.sums_bytes) * static_cast<size_t>(e.worker);
    AmxTask t;
    t.weights = s_.weights;
    t.groups = groups;
    t.next = next;
    t.group_bytes = s_.group_bytes;
    for (int w = 0; w < s_.weights; ++w)
      t.weight[w] =
          args.in[1 + static_cast<size_t>(w)].data + static_cast<size_t>(group) * s_.group_bytes;
    t.k = s_.k;
    t.x = args.workspace + x_at(cut, e.worker);
    t.tiles = cut.tiles;
    t.tile_begin = block * cut.block_tiles;
    t.tile_count = std::min(cut.block_tiles, cut.tiles - t.tile_begin);
    t.stretch = s_.stretch;
    t.panel_groups = s_.blocking.panel_groups;
    t.panel = own;
    t.sums = reinterpret_cast<float*>(own + cut.panel_bytes);
    if (cut.few()) own_outputs(args, t.tile_begin * kAmxTokens, rows, group, groups);
    s_.kernels->sum(t);

    // Token tile by token tile, so that the outputs of a token are written together.
    for (int64_t tile = 0; tile < t.tile_count; ++tile) {
      const int64_t first = (t.tile_begin + tile) * kAmxTokens;
      const auto tokens = static_cast<int>(std::min<int64_t>(kAmxTokens, rows - first));
      for (int64_t g = 0; g < t.groups; ++g) {
        const float* sums = t.sums + (g * t.tile_count + tile) * 256;
        finish(args, group + g, first, tokens, sums, sums + t.groups * t.tile_count * 256);
      }
    }
  }

  void finish(const LaunchArgs& args, int64_t group, int64_t first, int tokens, const float* acc_a,
              const float* acc_b) const {
    const int64_t column = group * kGroupRows;
    const LinearFinish f =
        finish_args(args, s_.attrs, s_.bias_dtype, s_.weights == 2, first, column);
    s_.kernels->finish(f, acc_a, acc_b, tokens,
                       static_cast<int>(std::min<int64_t>(kGroupRows, s_.n - column)));
  }

  const AmxShape s_;
};

class AmxLinear final : public CpuTactic {
 public:
  AmxLinear(std::string name, Op op, Isa level, const CpuTarget& target, AmxKernelsFor kernels_for,
            const AmxBlocking& blocking, bool int8)
      : CpuTactic(std::move(name), op, level, target),
        kernels_for_(kernels_for),
        blocking_(blocking),
        int8_(int8) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const AmxShape shape = shape_of(s);
    // A smaller number of tokens may be cut into tasks of more groups.
    const int64_t tiles = divide_up(std::max<int64_t>(tokens, 1), kAmxTokens);
    size_t most = cut_work(shape, tiles * kAmxTokens, target_.workers).workspace(target_.workers);
    for (int64_t n = std::min(tiles, blocking_.tiles); n > 0; --n)
      most = std::max(most,
                      cut_work(shape, n * kAmxTokens, target_.workers).workspace(target_.workers));
    return most;
  }
  std::string_view weight_layout(const OpSignature&, int input) const override {
    return linear_weight_layout(op(), input);
  }
  // Per step and group: its bytes from memory, its widening, its products with each token tile.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    constexpr double kBytesPerUs = 20000, kWidenUs = 0.03, kProductUs = 0.015, kPackUs = 1e-4;
    constexpr double kInt8Us = 0.05;  // mostly for making the sums float32
    const AmxShape shape = shape_of(s);
    const auto tiles = static_cast<double>(divide_up(std::max<int64_t>(tokens, 1), kAmxTokens));
    const double groups = static_cast<double>(shape.groups) * shape.weights;
    const double product = shape.int8 ? kInt8Us : kProductUs;
    const bool ready = shape.int8 || s.inputs[1].dtype == DType::bf16;
    const double work =
        static_cast<double>(shape.steps) * (tiles * product + (ready ? 0 : kWidenUs));
    const double memory = static_cast<double>(shape.group_bytes) / kBytesPerUs;
    return 2 + (groups * std::max(work, memory) +
                kPackUs * tiles * kAmxTokens * static_cast<double>(shape.k)) /
                   target_.workers;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<AmxLinearKernel>(shape_of(s));
  }

 protected:
  // A token's sums run over the inputs in one order, whatever the other tokens and the workers:
  // deterministic uses are welcome.
  bool fits(const OpSignature& s) const override {
    if (!linear_operands_fit(s)) return false;
    const AmxLinearKernels* kernels = kernels_for_(s.inputs[1].dtype);
    if (kernels == nullptr) return false;
    return !int8_ || (LinearAttrs::from(s.attrs).activation_bits == 8 &&
                      s.inputs[1].shape[1].size % kAmxInt8Step == 0);
  }

 private:
  AmxShape shape_of(const OpSignature& s) const {
    const ValueType& w = s.inputs[1];
    AmxShape r;
    r.kernels = kernels_for_(w.dtype);
    r.attrs = LinearAttrs::from(s.attrs);
    r.weights = op() == Op::linear_glu ? 2 : 1;
    if (r.attrs.has_bias) r.bias_dtype = s.inputs[1 + static_cast<size_t>(r.weights)].dtype;
    r.rows = s.inputs[0].shape[0];
    r.n = w.shape[0].size;
    r.k = w.shape[1].size;
    r.groups = divide_up(r.n, kGroupRows);
    r.steps = divide_up(r.k, int8_ ? kAmxInt8Step : kAmxStep);
    // A single stretch needs no sums twice: it may be longer by a quarter.
    const bool one = int8_ || r.steps <= blocking_.stretch * 5 / 4;
    r.stretch = one ? r.steps : divide_up(r.steps, divide_up(r.steps, blocking_.stretch));
    r.blocking = blocking_;
    r.int8 = int8_;
    r.group_bytes = rows16_group_bytes(w.dtype, r.k);
    return r;
  }

  const AmxKernelsFor kernels_for_;
  const AmxBlocking blocking_;
  const bool int8_;
};

}  // namespace

std::unique_ptr<Tactic> make_amx_linear(std::string name, Op op, Isa level, const CpuTarget& target,
                                        AmxKernelsFor kernels_for, const AmxBlocking& blocking) {
  return std::make_unique<AmxLinear>(std::move(name), op, level, target, kernels_for, blocking,
                                     false);
}

std::unique_ptr<Tactic> make_amx_int8_linear(std::string name, Op op, Isa level,
                                             const CpuTarget& target, AmxKernelsFor kernels_for) {
  return std::make_unique<AmxLinear>(std::move(name), op, level, target, kernels_for, AmxBlocking{},
                                     true);
}

void add_amx_linear(CpuRegistry& r) {
  for (const Op op : {Op::linear, Op::linear_glu}) {
    const std::string name = op == Op::linear ? "linear" : "linear_glu";
    r.add(make_amx_linear(name + ".bf16.amx", op, Isa::amx, r.target, amx_linear_kernels));
    r.add(
        make_amx_int8_linear(name + ".int8.amx", op, Isa::amx, r.target, amx_int8_linear_kernels));
  }
}

}  // namespace tokamak

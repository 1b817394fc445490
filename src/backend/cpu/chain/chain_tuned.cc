#include <algorithm>
#include <array>

#include "backend/cpu/chain/chain_tactics.h"
#include "backend/cpu/light/light_tactic.h"
#include "ops/chain.h"

namespace tokamak {
namespace {

// The order of LightKernels::map for chain steps of one operand; roundings stand apart.
constexpr std::array<MapKind, 14> kMaps = {
    MapKind::neg,   MapKind::abs,    MapKind::exp,       MapKind::log, MapKind::sqrt,
    MapKind::rsqrt, MapKind::square, MapKind::tanh,      MapKind::erf, MapKind::sigmoid,
    MapKind::silu,  MapKind::gelu,   MapKind::gelu_tanh, MapKind::relu};
constexpr std::array<PairKind, 7> kPairs = {PairKind::add, PairKind::sub, PairKind::mul,
                                            PairKind::div, PairKind::pow, PairKind::max,
                                            PairKind::min};

LightKernels::Map map_of(const LightKernels& k, ChainOp op) {
  if (op == ChainOp::round_f16) return k.round_f16;
  if (op == ChainOp::round_bf16) return k.round_bf16;
  return k.map[static_cast<size_t>(kMaps[static_cast<size_t>(op)])];
}
LightKernels::Pair pair_of(const LightKernels& k, ChainOp op) {
  const auto i = static_cast<size_t>(op) - static_cast<size_t>(ChainOp::add);
  return k.pair[static_cast<size_t>(kPairs[i])];
}

// Slots of scratch, each as long as a stretch of a row, handed out so that a step's slot is used
// again once nothing reads it any more.
struct Slots {
  std::vector<int> of_input;  // 16-bit operands are widened; -1: read in place
  std::vector<int> of_step;   // -1: written to its output, or the same all along a row
  int count = 0;
};

// For each step, the last one that reads it (itself when none does); outputs count to the end.
std::vector<size_t> last_reads(const Chain& chain) {
  std::vector<size_t> last(chain.steps.size());
  for (size_t i = 0; i < last.size(); ++i) {
    last[i] = i;
    for (const ChainOperand& o : {chain.steps[i].a, chain.steps[i].b})
      if (o.kind == ChainOperand::step) last[static_cast<size_t>(o.index)] = i;
  }
  for (const ChainOutput& o : chain.outputs) last[static_cast<size_t>(o.step)] = last.size();
  return last;
}

Slots assign_slots(const OpSignature& s, const Chain& chain, const std::vector<bool>& narrow,
                   const std::vector<bool>& uniform) {
  Slots slots;
  for (size_t i = 0; i < s.inputs.size(); ++i)
    slots.of_input.push_back(narrow[i] || s.inputs[i].dtype == DType::f32 ? -1 : slots.count++);
  const std::vector<size_t> last = last_reads(chain);
  std::vector<bool> direct(chain.steps.size());
  for (const ChainOutput& o : chain.outputs)
    if (o.dtype == DType::f32) direct[static_cast<size_t>(o.step)] = true;
  std::vector<int> free;
  std::vector<bool> returned(chain.steps.size());
  for (size_t i = 0; i < chain.steps.size(); ++i) {
    slots.of_step.push_back(-1);
    // In place is allowed: a step may write where an operand that it reads last stood.
    for (size_t j = 0; j < i; ++j)
      if (!returned[j] && last[j] <= i && slots.of_step[j] >= 0) {
        free.push_back(slots.of_step[j]);
        returned[j] = true;
      }
    if (direct[i] || uniform[i]) continue;
    if (free.empty()) free.push_back(slots.count++);
    slots.of_step[i] = free.back();
    free.pop_back();
  }
  return slots;
}

// Widths of 1 stretch along a row, unless all rows are that narrow.
std::vector<bool> narrow_inputs(const OpSignature& s) {
  std::vector<bool> narrow;
  for (const ValueType& t : s.inputs)
    narrow.push_back(width_of(t) == 1 && width_of(s.outputs[0]) != 1);
  return narrow;
}

constexpr int64_t kScratchBytes = 16 << 10;  // half of a first-level cache

class ChainKernel final : public Kernel {
 public:
  ChainKernel(const OpSignature& s, const LightKernels& k)
      : s_(s),
        k_(k),
        chain_(Chain::parse(s.attrs.get<std::string>("code"))),
        narrow_(narrow_inputs(s)),
        uniform_(chain_.uniform_steps(narrow_)),
        slots_(assign_slots(s, chain_, narrow_, uniform_)) {
    for (const ChainStep& step : chain_.steps) {
      numbers_.push_back(static_cast<float>(step.a.value));
      numbers_.push_back(static_cast<float>(step.b.value));
    }
  }

  // Floats of one slot.
  static int64_t stretch(int slots) {
    return std::clamp<int64_t>(kScratchBytes / 4 / std::max(slots, 1) / 16 * 16, 64, 512);
  }
  int slots() const { return slots_.count; }

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    Place p{};
    int64_t rows = row_count(s_.outputs[0], *args.step), width = width_of(s_.outputs[0]);
    const bool flat = is_flat(args, rows);
    const int64_t n = stretch(slots_.count);
    p.scratch = reinterpret_cast<float*>(args.workspace) + e.worker * n * slots_.count;
    p.slot = n;
    if (flat) {
      width *= rows;
      rows = 1;
    }
    const int64_t per_row = (width + n - 1) / n;
    const WorkRange mine = share(rows * per_row, e.worker, e.workers);
    int64_t row = -1;
    for (int64_t u = mine.begin; u < mine.end; ++u) {
      if (u / per_row != row) begin_row(args, p, row = u / per_row);
      const int64_t column = u % per_row * n;
      run(args, p, row, column, std::min(n, width - column));
    }
  }

 private:
  struct Place {
    float* scratch;
    int64_t slot;
    int64_t row[kChainMaxInputs];
    float value[kChainMaxInputs];         // of narrow operands
    float uniform[kChainMaxSteps];        // results of uniform steps
    const float* input[kChainMaxInputs];  // of the stretch
    const float* result[kChainMaxSteps];
  };

  // Whether all rows lie behind each other in every operand, so that they are one long row.
  bool is_flat(const LaunchArgs& args, int64_t rows) const {
    const auto dense = [&](const ValueType& t, const Operand& o) {
      const Rows v = rows_view(t, o);
      return v.row_bytes == v.width * info(t.dtype).block_bytes && t.shape == s_.outputs[0].shape;
    };
    if (rows == 1) return false;
    for (size_t i = 0; i < s_.inputs.size(); ++i) {
      const bool scalar = narrow_[i] && s_.inputs[i].shape.empty();
      if (!scalar && !dense(s_.inputs[i], args.in[i])) return false;
    }
    for (size_t i = 0; i < s_.outputs.size(); ++i)
      if (!dense(s_.outputs[i], args.out[i])) return false;
    return true;
  }

  void begin_row(const LaunchArgs& args, Place& p, int64_t row) const {
    for (size_t i = 0; i < s_.inputs.size(); ++i) {
      p.row[i] = broadcast_row(s_.inputs[i].shape, s_.outputs[0].shape, row, *args.step);
      if (narrow_[i])
        p.value[i] = static_cast<float>(rows_view(s_.inputs[i], args.in[i]).get(p.row[i], 0));
    }
    for (size_t i = 0; i < chain_.steps.size(); ++i)
      if (uniform_[i]) step(p, i, &p.uniform[i], 1);
  }

  void run(const LaunchArgs& args, Place& p, int64_t row, int64_t column, int64_t n) const {
    for (size_t i = 0; i < s_.inputs.size(); ++i) {
      if (narrow_[i]) continue;
      const Rows x = rows_view(s_.inputs[i], args.in[i]);
      const std::byte* at = x.row(p.row[i]) + column * info(x.dtype).block_bytes;
      p.input[i] = reinterpret_cast<const float*>(at);
      if (slots_.of_input[i] < 0) continue;
      float* wide = p.scratch + slots_.of_input[i] * p.slot;
      (x.dtype == DType::f16 ? k_.widen_f16 : k_.widen_bf16)(at, wide, n);
      p.input[i] = wide;
    }
    for (size_t i = 0; i < chain_.steps.size(); ++i) {
      if (uniform_[i]) continue;
      float* to = slots_.of_step[i] >= 0 ? p.scratch + slots_.of_step[i] * p.slot
                                         : output_at(args, i, row, column);
      step(p, i, to, n);
      p.result[i] = to;
    }
    for (size_t i = 0; i < chain_.outputs.size(); ++i) finish(args, p, i, row, column, n);
  }

  // Where the step's float32 output lies: the first of them.
  float* output_at(const LaunchArgs& args, size_t step, int64_t row, int64_t column) const {
    for (size_t i = 0; i < chain_.outputs.size(); ++i)
      if (chain_.outputs[i].dtype == DType::f32 &&
          static_cast<size_t>(chain_.outputs[i].step) == step)
        return float_rows(s_.outputs[i], args.out[i]).row(row) + column;
    TOKAMAK_ASSERT(false);
  }

  struct Source {
    const float* data;
    int step;
  };
  Source source(const Place& p, const ChainOperand& o, const float* number) const {
    const auto i = static_cast<size_t>(o.index);
    if (o.kind == ChainOperand::number) return {number, 0};
    if (o.kind == ChainOperand::input)
      return narrow_[i] ? Source{&p.value[i], 0} : Source{p.input[i], 1};
    return uniform_[i] ? Source{&p.uniform[i], 0} : Source{p.result[i], 1};
  }

  void step(const Place& p, size_t i, float* to, int64_t n) const {
    const ChainStep& s = chain_.steps[i];
    const Source a = source(p, s.a, &numbers_[2 * i]);
    if (takes_two(s.op)) {
      const Source b = source(p, s.b, &numbers_[2 * i + 1]);
      pair_of(k_, s.op)(a.data, a.step, b.data, b.step, to, n);
    } else if (a.step != 0 || n == 1) {
      map_of(k_, s.op)(a.data, to, n);
    }
  }

  // Outputs of 16 bits, of uniform steps, and further ones of a step that has been written.
  void finish(const LaunchArgs& args, Place& p, size_t i, int64_t row, int64_t column,
              int64_t n) const {
    const ChainOutput& o = chain_.outputs[i];
    const auto at = static_cast<size_t>(o.step);
    const Rows y = rows_view(s_.outputs[i], args.out[i]);
    std::byte* to = y.row(row) + column * info(y.dtype).block_bytes;
    if (uniform_[at]) {
      for (int64_t c = 0; c < n; ++c) store_element(o.dtype, to, c, p.uniform[at]);
      return;
    }
    if (o.dtype == DType::f16) return k_.narrow_f16(p.result[at], to, n);
    if (o.dtype == DType::bf16) return k_.narrow_bf16(p.result[at], to, n);
    if (reinterpret_cast<float*>(to) != p.result[at])
      std::copy_n(p.result[at], n, reinterpret_cast<float*>(to));
  }

  const OpSignature s_;
  const LightKernels& k_;
  const Chain chain_;
  const std::vector<bool> narrow_, uniform_;
  const Slots slots_;
  std::vector<float> numbers_;  // two a step
};

int64_t scratch(const OpSignature& s) {
  const Chain chain = Chain::parse(s.attrs.get<std::string>("code"));
  const std::vector<bool> narrow = narrow_inputs(s);
  const int slots = assign_slots(s, chain, narrow, chain.uniform_steps(narrow)).count;
  return slots * ChainKernel::stretch(slots);
}

}  // namespace

void add_tuned_chain(CpuRegistry& r) {
  const auto add = [&r](const char* n, Isa level, const LightKernels& k) {
    r.add<LightTactic>(
        n, Op::chain, level, r.target, k, [](const OpSignature&) { return true; },
        [](const OpSignature& s, const LightKernels& kernels) -> std::unique_ptr<Kernel> {
          return std::make_unique<ChainKernel>(s, kernels);
        },
        scratch);
  };
  add("chain.avx2", Isa::avx2, light_kernels_avx2());
  add("chain.avx512", Isa::avx512, light_kernels_avx512());
}

}  // namespace tokamak

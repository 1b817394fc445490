#include "backend/cpu/lora/lora_tactic.h"

#include <algorithm>

#include "backend/cpu/light/light_tactic.h"
#include "backend/cpu/lora/lora_kernels.h"
#include "ops/lora.h"

namespace tokamak {
namespace {

// Up to kLoraTile neighbours with one adapter.
struct Tile {
  int64_t begin = 0;
  int tokens = 0;
  int32_t adapter = -1;
};

Tile next_tile(const StepContext& step, int64_t begin) {
  Tile t{begin, 0, step.lora.adapters[begin]};
  while (begin + t.tokens < step.tokens && t.tokens < kLoraTile &&
         step.lora.adapters[begin + t.tokens] == t.adapter)
    ++t.tokens;
  return t;
}

// Tasks are handed out tile by tile, part by part, and where there are fewer tiles than workers
// also columns by columns: then each computes the first product for itself.
class LoraKernel final : public Kernel {
 public:
  LoraKernel(const OpSignature& s, const LoraKernels& k)
      : s_(s), k_(k), attrs_(LoraAttrs::from(s.attrs)) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    auto& e = static_cast<CpuExec&>(exec);
    const StepContext& step = *args.step;
    const int64_t splits = step.tokens < kLoraTile * e.workers ? e.workers : 1;
    const auto parts = static_cast<int64_t>(attrs_.parts.size());
    float* h = reinterpret_cast<float*>(args.workspace) + e.worker * kLoraTile * attrs_.max_rank;
    int64_t first = 0, mine = e.next_task();
    for (Tile tile; tile.begin + tile.tokens < step.tokens; first += parts * splits) {
      tile = next_tile(step, tile.begin + tile.tokens);
      for (; mine < first + parts * splits; mine = e.next_task())
        run(args, tile, static_cast<size_t>((mine - first) / splits), (mine - first) % splits,
            splits, h);
    }
  }

 private:
  void run(const LaunchArgs& args, const Tile& tile, size_t i, int64_t split, int64_t splits,
           float* h) const {
    const int64_t k = width_of(s_.inputs[0]), n = attrs_.widths[i];
    const WorkRange columns = share(n, static_cast<int>(split), static_cast<int>(splits), 32);
    int64_t offset = 0;
    for (size_t p = 0; p < i; ++p) offset += attrs_.widths[p];
    const auto rows = [&](const ValueType& type, const Operand& o, int64_t column) {
      const FloatRows r = float_rows(type, o);
      return LoraRows{r.row(tile.begin) + column, r.stride};
    };
    const LoraRows y = rows(s_.inputs[1], args.in[1], offset);
    const LoraRows out = rows(s_.outputs[0], args.out[0], offset);
    const LoraView& view = args.step->lora;
    const LoraPart part =
        tile.adapter < 0 ? LoraPart{}
                         : view.parts[tile.adapter * int64_t{view.part_count} + attrs_.parts[i]];
    if (part.rank == 0) return copy(tile, y, out, columns);
    if (columns.begin == columns.end) return;
    k_.shrink(part, rows(s_.inputs[0], args.in[0], 0), k, tile.tokens, h, attrs_.max_rank);
    k_.expand(part, n, h, attrs_.max_rank, tile.tokens, y, out, columns.begin, columns.end);
  }

  static void copy(const Tile& tile, LoraRows y, LoraRows out, WorkRange columns) {
    if (y.data == out.data) return;
    for (int t = 0; t < tile.tokens; ++t)
      std::copy(y.data + t * y.row_stride + columns.begin, y.data + t * y.row_stride + columns.end,
                out.data + t * out.row_stride + columns.begin);
  }

  const OpSignature s_;
  const LoraKernels& k_;
  const LoraAttrs attrs_;
};

class LoraTactic final : public CpuTactic {
 public:
  LoraTactic(std::string name, Isa level, const CpuTarget& target, const LoraKernels& kernels)
      : CpuTactic(std::move(name), Op::lora, level, target), kernels_(kernels) {}
  size_t workspace_bytes(const OpSignature& s, int64_t) const override {
    return static_cast<size_t>(LoraAttrs::from(s.attrs).max_rank * kLoraTile * target_.workers) * 4;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<LoraKernel>(s, kernels_);
  }

 protected:
  bool fits(const OpSignature& s) const override { return all_f32(s); }

 private:
  const LoraKernels& kernels_;
};

}  // namespace

void add_tuned_lora(CpuRegistry& r) {
  r.add<LoraTactic>("lora.avx2", Isa::avx2, r.target, lora_kernels_avx2());
  r.add<LoraTactic>("lora.avx512", Isa::avx512, r.target, lora_kernels_avx512());
}

}  // namespace tokamak

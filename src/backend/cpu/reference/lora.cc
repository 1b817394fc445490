// lora: the two products of each token's adapter, in double.
#include "ops/lora.h"
#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

double element(const LoraPart& part, const void* matrix, int64_t row, int64_t width, int64_t i) {
  return load_element(part.dtype, static_cast<const std::byte*>(matrix),
                      row * lora_padded(width) + i);
}

class LoraKernel final : public Kernel {
 public:
  explicit LoraKernel(const OpSignature& s) : s_(s), attrs_(LoraAttrs::from(s.attrs)) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const StepContext& step = *args.step;
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.inputs[1], args.in[1]);
    const Rows out = rows_view(s_.outputs[0], args.out[0]);
    const WorkRange mine = share(step.tokens, e.worker, e.workers);
    for (int64_t t = mine.begin; t < mine.end; ++t) {
      int64_t offset = 0;
      for (size_t i = 0; i < attrs_.parts.size(); offset += attrs_.widths[i++])
        add(step.lora, t, i, offset, x, y, out);
    }
  }

 private:
  void add(const LoraView& view, int64_t t, size_t i, int64_t offset, const Rows& x, const Rows& y,
           const Rows& out) const {
    const int64_t n = attrs_.widths[i];
    const int32_t adapter = view.adapters[t];
    const LoraPart part =
        adapter < 0 ? LoraPart{} : view.parts[adapter * int64_t{view.part_count} + attrs_.parts[i]];
    double h[kMostLoraRank];
    for (int64_t r = 0; r < part.rank; ++r) {
      h[r] = 0;
      for (int64_t c = 0; c < x.width; ++c)
        h[r] += x.get(t, c) * element(part, part.a, r, x.width, c);
    }
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0;
      for (int64_t r = 0; r < part.rank; ++r) sum += h[r] * element(part, part.b, r, n, c);
      if (part.rank == 0 && y.data == out.data) continue;
      out.set(t, offset + c,
              part.rank == 0 ? y.get(t, offset + c)
                             : y.get(t, offset + c) + static_cast<double>(part.scale) * sum);
    }
  }

  const OpSignature s_;
  const LoraAttrs attrs_;
};

}  // namespace

void add_reference_lora(CpuRegistry& r) {
  r.add_simple(
      "lora.reference", Op::lora, Isa::reference,
      [](const OpSignature& s) { return is_activation_dtype(s.inputs[0].dtype); },
      [](const OpSignature& s) -> std::unique_ptr<Kernel> {
        return std::make_unique<LoraKernel>(s);
      });
}

}  // namespace tokamak

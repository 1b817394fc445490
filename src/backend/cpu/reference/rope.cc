#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rotate.h"
#include "backend/cpu/reference/rows.h"
#include "backend/rope_tables.h"

namespace tokamak {
namespace {

constexpr int64_t kMaxHeadDim = 1024;  // a head lives on the stack

class RopeKernel final : public Kernel {
 public:
  explicit RopeKernel(const OpSignature& s)
      : s_(s), attrs_(RopeAttrs::from(s.attrs)), tables_(attrs_) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const StepContext& step = *args.step;
    RopeTable scratch;
    for (int32_t seq = 0; seq < step.sequences; ++seq) {
      const RopeTable& table = tables_.at(step.context_len[seq], scratch);
      const int64_t begin = step.query_begin[seq], n = step.query_begin[seq + 1] - begin;
      const WorkRange mine = share(n, e.worker, e.workers);
      for (int64_t t = begin + mine.begin; t < begin + mine.end; ++t) turn_token(args, t, table);
    }
  }

 private:
  void turn_token(const LaunchArgs& args, int64_t t, const RopeTable& table) const {
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    const int32_t position = args.in[1].as<const int32_t>()[t];
    double head[kMaxHeadDim];
    for (int64_t h = 0; h < x.width; h += attrs_.head_dim) {
      for (int64_t i = 0; i < attrs_.head_dim; ++i) head[i] = x.get(t, h + i);
      rotate(head, attrs_, table, position);
      for (int64_t i = 0; i < attrs_.head_dim; ++i) y.set(t, h + i, head[i]);
    }
  }

  const OpSignature s_;
  const RopeAttrs attrs_;
  const RopeTables tables_;
};

bool fits(const OpSignature& s) {
  return is_activation_dtype(s.inputs[0].dtype) &&
         s.attrs.get<int64_t>("rope_head_dim") <= kMaxHeadDim;
}

std::unique_ptr<Kernel> bind(const OpSignature& s) { return std::make_unique<RopeKernel>(s); }

}  // namespace

void add_reference_rope(CpuRegistry& r) {
  r.add_simple("rope.reference", Op::rope, Isa::reference, fits, bind);
}

}  // namespace tokamak

#include "backend/cpu/chain/chain_tactics.h"
#include "backend/cpu/reference/rows.h"
#include "ops/chain.h"

namespace tokamak {
namespace {

class ReferenceChain final : public Kernel {
 public:
  explicit ReferenceChain(const OpSignature& s)
      : s_(s), chain_(Chain::parse(s.attrs.get<std::string>("code"))) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const SymShape& shape = s_.outputs[0].shape;
    const int64_t width = width_of(s_.outputs[0]);
    const WorkRange mine = share(row_count(s_.outputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      int64_t row[kChainMaxInputs];
      for (size_t i = 0; i < s_.inputs.size(); ++i)
        row[i] = broadcast_row(s_.inputs[i].shape, shape, r, *args.step);
      for (int64_t c = 0; c < width; ++c) element(args, row, r, c);
    }
  }

 private:
  void element(const LaunchArgs& args, const int64_t* row, int64_t r, int64_t c) const {
    double t[kChainMaxSteps];
    const auto read = [&](const ChainOperand& o) {
      if (o.kind == ChainOperand::number) return o.value;
      const auto i = static_cast<size_t>(o.index);
      if (o.kind == ChainOperand::step) return t[i];
      const Rows x = rows_view(s_.inputs[i], args.in[i]);
      return x.get(row[i], x.width == 1 ? 0 : c);
    };
    for (size_t i = 0; i < chain_.steps.size(); ++i) {
      const ChainStep& s = chain_.steps[i];
      t[i] = apply(s.op, read(s.a), takes_two(s.op) ? read(s.b) : 0);
    }
    for (size_t i = 0; i < chain_.outputs.size(); ++i)
      rows_view(s_.outputs[i], args.out[i])
          .set(r, c, t[static_cast<size_t>(chain_.outputs[i].step)]);
  }

  const OpSignature s_;
  const Chain chain_;
};

bool fits(const OpSignature&) { return true; }

}  // namespace

void add_reference_chain(CpuRegistry& r) {
  r.add_simple("chain.reference", Op::chain, Isa::reference, fits,
               [](const OpSignature& s) -> std::unique_ptr<Kernel> {
                 return std::make_unique<ReferenceChain>(s);
               });
}

}  // namespace tokamak

#include "backend/cpu/attention/attention_tactic.h"

#include "backend/cpu/attention/attention_kernel.h"
#include "backend/cpu/element.h"

namespace tokamak {
namespace {

// operations_per_us: of one core, when many queries meet the same keys.
class AttentionTactic final : public CpuTactic {
 public:
  AttentionTactic(std::string name, Isa level, const CpuTarget& target,
                  const AttentionKernels& kernels, double operations_per_us)
      : CpuTactic(std::move(name), Op::attention, level, target),
        kernels_(kernels),
        speed_(operations_per_us) {}

  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    return TunedAttention::workspace_bytes(AttentionAttrs::from(s.attrs), kernels_, target_.workers,
                                           tokens);
  }
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    return 1 + cost(s, tokens, tokens, tokens * 256).flops / speed_ / target_.workers;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<TunedAttention>(s, kernels_, target_.workers);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    for (int i = 0; i < 3; ++i)
      if (s.inputs[i].dtype != DType::f32) return false;
    for (size_t i = 4; i < s.inputs.size(); ++i)
      if (!is_activation_dtype(s.inputs[i].dtype)) return false;
    return s.outputs[0].dtype == DType::f32 &&
           AttentionAttrs::from(s.attrs).head_dim <= kMaxHeadDim;
  }

 private:
  const AttentionKernels& kernels_;
  const double speed_;
};

}  // namespace

void add_tuned_attention(CpuRegistry& r) {
  r.add<AttentionTactic>("attention.avx2", Isa::avx2, r.target, attention_kernels_avx2(), 25000);
  r.add<AttentionTactic>("attention.avx512", Isa::avx512, r.target, attention_kernels_avx512(),
                         60000);
  r.add<AttentionTactic>("attention.amx", Isa::amx, r.target, attention_kernels_amx(), 600000);
}

std::unique_ptr<Tactic> emulated_amx_attention(const CpuTarget& target) {
  return std::make_unique<AttentionTactic>("attention.amx.emulated", Isa::avx512, target,
                                           attention_kernels_emulated(), 60000);
}

}  // namespace tokamak

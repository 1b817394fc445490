#include <algorithm>

#include "backend/cuda/kernels/lora.h"
#include "backend/cuda/reference/reference.h"
#include "ops/lora.h"

namespace tokamak {
namespace {

class LoraKernel final : public Kernel {
 public:
  explicit LoraKernel(const OpSignature& s) : s_(s), attrs_(LoraAttrs::from(s.attrs)) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::LoraArg l;
    l.x = rows_arg(s_.inputs[0], args.in[0], *args.step);
    l.y = rows_arg(s_.inputs[1], args.in[1], *args.step);
    l.out = rows_arg(s_.outputs[0], args.out[0], *args.step);
    l.view = args.step->lora;
    l.parts = static_cast<int>(attrs_.parts.size());
    std::copy(attrs_.parts.begin(), attrs_.parts.end(), l.part);
    std::copy(attrs_.widths.begin(), attrs_.widths.end(), l.width);
    l.a_stride = lora_padded(l.x.width);
    std::transform(attrs_.widths.begin(), attrs_.widths.end(), l.b_stride, lora_padded);
    cuda::lora(l, static_cast<CudaExec&>(exec).stream);
  }

 private:
  const OpSignature s_;
  const LoraAttrs attrs_;
};

bool fits(const OpSignature& s) {
  return is_cuda_activation(s.inputs[0].dtype) &&
         LoraAttrs::from(s.attrs).parts.size() <= cuda::LoraArg::kMaxParts;
}

}  // namespace

void add_cuda_reference_lora(CudaRegistry& r) {
  r.add<CudaSimpleTactic>(Op::lora, r.target, fits, bind_cuda<LoraKernel>);
}

}  // namespace tokamak

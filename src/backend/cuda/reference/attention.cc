#include "backend/cuda/attention/attention_arg.h"
#include "backend/cuda/kernels/reference.h"
#include "backend/cuda/reference/reference.h"

namespace tokamak {
namespace {

constexpr int64_t kMaxHeadDim = 1024;

cudaStream_t stream_of(ExecContext& exec) { return static_cast<CudaExec&>(exec).stream; }

class RopeKernel final : public Kernel {
 public:
  explicit RopeKernel(const OpSignature& s) : s_(s), rope_(RopeAttrs::from(s.attrs)) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::rope(rows_arg(s_.inputs[0], args.in[0], *args.step), args.in[1].as<const int32_t>(),
               rope_.arg(), step_arg(*args.step), rows_arg(s_.outputs[0], args.out[0], *args.step),
               stream_of(exec));
  }

 private:
  const OpSignature s_;
  const RopeOnDevice rope_;
};

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const OpSignature& s) : bound_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::attention(bound_.arg(args), step_arg(*args.step), stream_of(exec));
  }

 private:
  const BoundAttention bound_;
};

bool fits_rope(const OpSignature& s) {
  return is_cuda_activation(s.inputs[0].dtype) &&
         s.attrs.get<int64_t>("rope_head_dim") <= kMaxHeadDim;
}
bool fits(const OpSignature& s) {
  for (size_t i = 0; i < s.inputs.size(); ++i)
    if (i != 3 && !is_cuda_activation(s.inputs[i].dtype)) return false;
  return s.attrs.get<int64_t>("head_dim") <= kMaxHeadDim;
}

}  // namespace

void add_cuda_reference_attention(CudaRegistry& r) {
  r.add<CudaSimpleTactic>(Op::rope, r.target, fits_rope, bind_cuda<RopeKernel>);
  r.add<CudaSimpleTactic>(Op::attention, r.target, fits, bind_cuda<AttentionKernel>);
}

}  // namespace tokamak

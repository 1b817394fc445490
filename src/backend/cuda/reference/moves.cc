#include "backend/cuda/check.h"
#include "backend/cuda/kernels/reference.h"
#include "backend/cuda/kernels/vectors.h"
#include "backend/cuda/reference/reference.h"

namespace tokamak {
namespace {

cudaStream_t stream_of(ExecContext& exec) { return static_cast<CudaExec&>(exec).stream; }

class ConcatKernel final : public Kernel {
 public:
  explicit ConcatKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cuda::RowsArg y = rows_arg(s_.outputs[0], args.out[0], *args.step);
    const auto size = static_cast<size_t>(info(y.dtype).block_bytes);
    auto* to = static_cast<std::byte*>(y.data);
    for (size_t i = 0; i < s_.inputs.size(); ++i) {
      const cuda::RowsArg x = rows_arg(s_.inputs[i], args.in[i], *args.step);
      const size_t width = static_cast<size_t>(x.width) * size;
      if (y.rows > 0)
        TOKAMAK_CUDA(cudaMemcpy2DAsync(
            to, static_cast<size_t>(y.stride) * size, x.data, static_cast<size_t>(x.stride) * size,
            width, static_cast<size_t>(y.rows), cudaMemcpyDeviceToDevice, stream_of(exec)));
      to += width;
    }
  }

 private:
  const OpSignature s_;
};

class ReshapeKernel final : public Kernel {
 public:
  explicit ReshapeKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::reshape(rows_arg(s_.inputs[0], args.in[0], *args.step),
                  rows_arg(s_.outputs[0], args.out[0], *args.step),
                  info(s_.inputs[0].dtype).block_bytes, stream_of(exec));
  }

 private:
  const OpSignature s_;
};

template <auto kRun>
class GatherKernel final : public Kernel {
 public:
  explicit GatherKernel(const OpSignature& s) : s_(s) {
    for (size_t i = 1; i + 1 < s.inputs[0].shape.size(); ++i)
      per_token_ *= s.inputs[0].shape[i].size;
  }
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    kRun(rows_arg(s_.inputs[0], args.in[0], *args.step), args.step->logit_index, per_token_,
         rows_arg(s_.outputs[0], args.out[0], *args.step), info(s_.inputs[0].dtype).block_bytes,
         stream_of(exec));
  }

 private:
  const OpSignature s_;
  int64_t per_token_ = 1;  // rows: > 1 for [tokens, heads, head_dim]
};

bool fits(const OpSignature& s) { return !is_block_format(s.inputs[0].dtype); }

}  // namespace

void add_cuda_reference_moves(CudaRegistry& r) {
  r.add<CudaSimpleTactic>(Op::concat, r.target, fits, bind_cuda<ConcatKernel>);
  r.add<CudaSimpleTactic>(Op::reshape, r.target, fits, bind_cuda<ReshapeKernel>);
  r.add<CudaSimpleTactic>(Op::gather_rows, r.target, fits, bind_cuda<GatherKernel<cuda::gather>>);
  r.add<CudaSimpleTactic>(Op::gather_rows, r.target, fits_vectors,
                          bind_cuda<GatherKernel<cuda::gather_vectors>>,
                          CudaSimpleTactic::Kind::vectors);
}

}  // namespace tokamak

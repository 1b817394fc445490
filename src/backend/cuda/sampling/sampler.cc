#include "backend/cuda/sampling/sampler.h"

#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/sample.h"

namespace tokamak {
namespace {

class CudaSampler final : public DeviceSampler {
 public:
  explicit CudaSampler(cudaStream_t stream)
      : stream_(stream), tickets_(std::vector<unsigned>(cuda::kSampleMaxRows)) {}

  size_t workspace_bytes(int32_t rows, int64_t vocab) const override {
    return cuda::greedy_partial_bytes(rows, vocab);
  }
  void choose(const DecodeRows& rows, bool plain, std::byte* workspace) override {
    if (rows.rows > cuda::kSampleMaxRows)
      fail("{} rows to choose tokens for at once: at most {}", rows.rows, cuda::kSampleMaxRows);
    if (!plain) fail("the CUDA backend's sampler is greedy only");
    cuda::choose_greedy(rows, reinterpret_cast<uint64_t*>(workspace), tickets_.data(), stream_);
    TOKAMAK_CUDA(cudaGetLastError());
  }

 private:
  const cudaStream_t stream_;
  DeviceArray<unsigned> tickets_;  // zero between launches
};

}  // namespace

std::unique_ptr<DeviceSampler> make_cuda_sampler(cudaStream_t stream) {
  return std::make_unique<CudaSampler>(stream);
}

}  // namespace tokamak

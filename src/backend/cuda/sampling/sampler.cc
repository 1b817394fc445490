#include "backend/cuda/sampling/sampler.h"

#include <algorithm>

#include "backend/cuda/device_memory.h"
#include "backend/cuda/kernels/sample.h"

namespace tokamak {
namespace {

class CudaSampler final : public DeviceSampler {
 public:
  explicit CudaSampler(cudaStream_t stream)
      : stream_(stream), tickets_(std::vector<unsigned>(cuda::kSampleMaxRows)) {
    int device = 0;
    TOKAMAK_CUDA(cudaGetDevice(&device));
    const auto attribute = [&](cudaDeviceAttr a) {
      int value = 0;
      TOKAMAK_CUDA(cudaDeviceGetAttribute(&value, a, device));
      return value;
    };
    device_.clusters = attribute(cudaDevAttrClusterLaunch) != 0;
    device_.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
    device_.shared_bytes = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  }

  size_t workspace_bytes(int32_t rows, int64_t vocab) const override {
    return std::max(cuda::greedy_partial_bytes(rows, vocab),
                    cuda::draw_workspace_bytes(device_, rows, vocab));
  }
  void choose(const DecodeRows& rows, bool plain, std::byte* workspace) override {
    if (rows.rows > cuda::kSampleMaxRows)
      fail("{} rows to choose tokens for at once: at most {}", rows.rows, cuda::kSampleMaxRows);
    if (rows.vocab > cuda::draw_max_vocab())
      fail("a vocabulary of {} tokens: at most {} can be chosen from on the device", rows.vocab,
           cuda::draw_max_vocab());
    if (plain)
      cuda::choose_greedy(rows, reinterpret_cast<uint64_t*>(workspace), tickets_.data(), stream_);
    else
      cuda::choose_drawn(device_, rows, workspace, stream_);
    TOKAMAK_CUDA(cudaGetLastError());
  }
  void feed(const FedTokens& tokens) override {
    cuda::feed_tokens(tokens, stream_);
    TOKAMAK_CUDA(cudaGetLastError());
  }

 private:
  const cudaStream_t stream_;
  cuda::DrawDevice device_;
  DeviceArray<unsigned> tickets_;  // zero between launches
};

}  // namespace

std::unique_ptr<DeviceSampler> make_cuda_sampler(cudaStream_t stream) {
  return std::make_unique<CudaSampler>(stream);
}

}  // namespace tokamak

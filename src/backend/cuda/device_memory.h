// Small constant arrays that a kernel keeps on the device.
#pragma once
#include <utility>
#include <vector>

#include "backend/cuda/check.h"

namespace tokamak {

template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(const std::vector<T>& host) {
    if (host.empty()) return;
    TOKAMAK_CUDA(cudaMalloc(reinterpret_cast<void**>(&data_), host.size() * sizeof(T)));
    TOKAMAK_CUDA(cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
    // Of pageable memory it may still be under way, and the backend's stream does not wait for it.
    TOKAMAK_CUDA(cudaStreamSynchronize(cudaStreamLegacy));
  }
  DeviceArray(DeviceArray&& o) noexcept : data_(std::exchange(o.data_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&& o) noexcept {
    std::swap(data_, o.data_);
    return *this;
  }
  ~DeviceArray() { cudaFree(data_); }
  const T* data() const { return data_; }
  T* writable() const { return data_; }  // for kernels that leave it as they found it
  T* data() { return data_; }

 private:
  T* data_ = nullptr;
};

}  // namespace tokamak

// Memory that the host fills and the device then has: the device's own where it is host memory.
#pragma once
#include <span>
#include <vector>

#include "backend/backend.h"

namespace tokamak {

class Staging {
 public:
  Staging(Backend& backend, std::byte* device, size_t bytes)
      : backend_(backend), device_(device), bytes_(bytes) {
    if (!backend.in_host_memory()) host_.resize(bytes);
  }
  std::byte* data() { return backend_.in_host_memory() ? device_ : host_.data(); }
  std::span<std::byte> span() { return {data(), bytes_}; }
  void commit() {
    if (!host_.empty()) backend_.copy_in(device_, host_.data(), bytes_);
  }

 private:
  Backend& backend_;
  std::byte* device_;
  size_t bytes_;
  std::vector<std::byte> host_;
};

}  // namespace tokamak

// Runs one tactic on host tensors: operands in guarded buffers, contiguous or as views into wider
// rows, weights packed in the tactic's layout.
#pragma once
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "host_tensor.h"
#include "test_step.h"

namespace tokamak::test {

// Of activations and workspaces, as memory_plan.h and the backends place them.
inline constexpr size_t kAlignment = 256;

template <typename T>
struct AlignedAllocator {
  using value_type = T;
  T* allocate(size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(kAlignment)));
  }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(kAlignment)); }
  bool operator==(const AlignedAllocator&) const = default;
};
using AlignedBytes = std::vector<std::byte, AlignedAllocator<std::byte>>;

// Bytes with a known pattern before, between rows and behind; touched ones are found.
class GuardedBuffer {
 public:
  // An output: every byte is the pattern. row_bytes wide rows, stride_bytes apart.
  GuardedBuffer(int64_t rows, size_t row_bytes, size_t stride_bytes);
  // Sets the rows; what lies between them becomes NaN in every dtype.
  void fill_rows(const std::byte* dense);
  std::byte* data() { return data_; }
  AlignedBytes& storage() { return storage_; }  // guards included
  std::vector<std::byte> dense() const;
  // Empty when nothing outside the rows changed.
  std::string damage() const;

 private:
  int64_t rows_;
  size_t row_bytes_, stride_bytes_;
  AlignedBytes storage_, before_;
  std::byte* data_;
};

struct LaunchResult {
  std::vector<HostTensor> outputs;
  HostKv cache;        // after the launch
  std::string damage;  // what was written that should not have been
};

LaunchResult run_tactic(Backend& backend, const Tactic& tactic, const OpSignature& signature,
                        const std::vector<HostTensor>& inputs, TestStep& step, bool strided);

}  // namespace tokamak::test

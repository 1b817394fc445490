// Runs one tactic on host tensors: operands in guarded buffers, contiguous or as views into wider
// rows, weights packed in the tactic's layout.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "host_tensor.h"
#include "test_step.h"

namespace tokamak::test {

// Bytes with a known pattern before, between rows and behind; touched ones are found.
class GuardedBuffer {
 public:
  // An output: every byte is the pattern. row_bytes wide rows, stride_bytes apart.
  GuardedBuffer(int64_t rows, size_t row_bytes, size_t stride_bytes);
  // Sets the rows; what lies between them becomes NaN in every dtype.
  void fill_rows(const std::byte* dense);
  std::byte* data() { return data_; }
  std::vector<std::byte>& storage() { return storage_; }  // guards included
  std::vector<std::byte> dense() const;
  // Empty when nothing outside the rows changed.
  std::string damage() const;

 private:
  int64_t rows_;
  size_t row_bytes_, stride_bytes_;
  std::vector<std::byte> storage_, before_;
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

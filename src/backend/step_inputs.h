// The arrays of a step (StepContext), filled on the host, and as the device sees them: the same
// memory, or a copy that upload() brings there.
#pragma once
#include <vector>

#include "backend/backend.h"

namespace tokamak {

class StepInputs {
 public:
  explicit StepInputs(Backend& backend) : arrays_(backend), table_(backend) {}

  // Capacities; they only grow, and what is filled stays (the block table unless it moves). True
  // when other arrays than the block table have moved.
  bool resize(int64_t tokens, int64_t sequences, int64_t table_stride, int64_t rows);
  int64_t table_stride() const { return stride_; }
  int64_t sequences() const { return sequences_; }
  int64_t rows() const { return rows_; }

  int32_t *token_ids = nullptr, *positions = nullptr;      // [tokens]
  int32_t *query_begin = nullptr, *context_len = nullptr;  // [sequences + 1], [sequences]
  int32_t *block_table = nullptr, *logit_index = nullptr;  // [sequences][stride], [rows]

  // Points the context's arrays at device memory; its numbers are set already. Its maxima are set
  // from the arrays.
  void upload(StepContext& context);
  const int32_t* device_token_ids() const { return arrays_.on_device(token_ids); }
  const int32_t* device_positions() const { return arrays_.on_device(positions); }

 private:
  class Memory {
   public:
    explicit Memory(Backend& backend) : backend_(backend) {}
    // The memory before, for what shall be kept of it.
    std::vector<int32_t> replace(int64_t count);
    int32_t* host() { return host_.data(); }
    void upload(int64_t count);
    const int32_t* on_device(const int32_t* host) const;

   private:
    Backend& backend_;
    std::vector<int32_t> host_;
    Backend::Buffer device_;  // none where device memory is host memory
  };

  int64_t tokens_ = 0, sequences_ = 0, stride_ = 0, rows_ = 0;
  Memory arrays_, table_;  // the table grows with every context, the others seldom
};

}  // namespace tokamak

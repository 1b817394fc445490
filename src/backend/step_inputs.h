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

  // Before a step's arrays are filled: what upload() took last may still be on its way.
  void begin();
  int32_t *token_ids = nullptr, *positions = nullptr;      // [tokens]
  int32_t* adapters = nullptr;                             // [tokens]: LoraView
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
    int32_t* host() { return host_.empty() ? shared(at_) : host_.data(); }
    void turn() { at_ = 1 - at_; }
    void upload(int64_t count);
    const int32_t* on_device(const int32_t* host) const;

   private:
    int32_t* shared(int i) const { return reinterpret_cast<int32_t*>(shared_[i].get()); }

    Backend& backend_;
    int64_t count_ = 0;
    std::vector<int32_t> host_;  // where device memory is host memory; else
    Backend::Buffer shared_[2], device_;
    int at_ = 0;  // which of the two is filled; the other may be on its way to the device
  };

  void point();

  int64_t tokens_ = 0, sequences_ = 0, stride_ = 0, rows_ = 0;
  Memory arrays_, table_;  // the table grows with every context, the others seldom
};

}  // namespace tokamak

// The KV cache's memory: per layer one pool of K blocks and one of V blocks, in one buffer.
#pragma once
#include <vector>

#include "backend/backend.h"
#include "engine/plan.h"

namespace tokamak {

class KvCache {
 public:
  KvCache(Backend& backend, const Plan& plan, int32_t block_size);
  int32_t blocks() const { return blocks_; }
  int32_t block_size() const { return block_size_; }
  int64_t bytes() const { return block_bytes_ * blocks_ * 2 * int64_t(views_.size()); }
  // More blocks: content is kept. Error when the memory is not there.
  void grow(int32_t blocks);
  // Content of one block to another, in every layer.
  void copy_block(int32_t from, int32_t to);
  KvView view() const { return {dtype_, block_size_, views_}; }

 private:
  Backend& backend_;
  DType dtype_;
  int32_t block_size_, blocks_ = 0;
  int64_t block_bytes_;  // of K (and of V) of one layer
  Backend::Buffer buffer_;
  std::vector<KvLayerView> views_;
};

}  // namespace tokamak

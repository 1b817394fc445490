// The KV cache's memory: per layer one pool of K blocks and one of V blocks, in one buffer.
#pragma once
#include <vector>

#include "backend/backend.h"
#include "engine/plan.h"
#include "runtime/kv/kv_copy.h"

namespace tokamak {

class KvCache {
 public:
  KvCache(Backend& backend, const Plan& plan, int32_t block_size);
  int32_t blocks() const { return blocks_; }
  int32_t block_size() const { return block_size_; }
  int64_t bytes() const { return block_bytes_ * blocks_ * 2 * int64_t(views_.size()); }
  // More blocks: content is kept. Error when the memory is not there.
  void grow(int32_t blocks);
  // Room in host memory for blocks that leave the cache; returns for how many.
  int32_t reserve_host(int64_t bytes);
  // Content of one block to another, in every layer; within the cache or to and from the host's.
  void copy_block(const KvCopy& copy);
  KvView view() const { return {dtype_, block_size_, views_}; }

 private:
  Backend& backend_;
  DType dtype_;
  int32_t block_size_, blocks_ = 0;
  int64_t block_bytes_;  // of K (and of V) of one layer
  Backend::Buffer buffer_, host_;
  int32_t host_blocks_ = 0;
  std::vector<KvLayerView> views_;
};

}  // namespace tokamak

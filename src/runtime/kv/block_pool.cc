#include "runtime/kv/block_pool.h"

#include "base/error.h"

namespace tokamak {

std::optional<int32_t> BlockPool::allocate() {
  if (free_.empty()) return std::nullopt;
  const int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  return block;
}

void BlockPool::retain(int32_t block) {
  TOKAMAK_ASSERT(references_.at(block) > 0);
  ++references_[block];
}

void BlockPool::release(int32_t block) {
  TOKAMAK_ASSERT(references_.at(block) > 0);
  if (--references_[block] == 0) free_.push_back(block);
}

void BlockPool::grow(int32_t blocks) {
  const int32_t old = size();
  TOKAMAK_ASSERT(blocks >= old);
  references_.resize(static_cast<size_t>(blocks), 0);
  std::vector<int32_t> fresh;
  fresh.reserve(static_cast<size_t>(blocks));
  for (int32_t b = blocks - 1; b >= old; --b) fresh.push_back(b);
  fresh.insert(fresh.end(), free_.begin(), free_.end());  // freed ones are warm: used first
  free_ = std::move(fresh);
}

}  // namespace tokamak

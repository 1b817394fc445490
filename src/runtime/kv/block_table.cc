#include "runtime/kv/block_table.h"

#include "base/error.h"

namespace tokamak {
namespace {

int32_t blocks_of(int32_t tokens, int32_t block_size) {
  return static_cast<int32_t>((int64_t{tokens} + block_size - 1) / block_size);
}

}  // namespace

BlockTable::BlockTable(BlockTable&& o) noexcept
    : pool_(o.pool_),
      block_size_(o.block_size_),
      tokens_(std::exchange(o.tokens_, 0)),
      blocks_(std::exchange(o.blocks_, {})) {}

BlockTable& BlockTable::operator=(BlockTable&& o) noexcept {
  std::swap(pool_, o.pool_);
  std::swap(block_size_, o.block_size_);
  std::swap(tokens_, o.tokens_);
  std::swap(blocks_, o.blocks_);
  return *this;
}

bool BlockTable::shared_tail() const {
  return tokens_ % block_size_ != 0 && pool_->references(blocks_.back()) > 1;
}

int32_t BlockTable::blocks_for(int32_t n) const {
  if (n == 0) return 0;
  return blocks_of(tokens_ + n, block_size_) - static_cast<int32_t>(blocks_.size()) +
         (shared_tail() ? 1 : 0);
}

bool BlockTable::append(int32_t n, Copy* copy) {
  *copy = {};
  const int32_t needed = blocks_for(n);
  if (needed > pool_->free_blocks()) return false;
  if (n > 0 && shared_tail()) {
    const int32_t fresh = *pool_->allocate();
    *copy = {blocks_.back(), fresh};
    pool_->release(blocks_.back());
    blocks_.back() = fresh;
  }
  tokens_ += n;
  const auto wanted = static_cast<size_t>(blocks_of(tokens_, block_size_));
  while (blocks_.size() < wanted) blocks_.push_back(*pool_->allocate());
  return true;
}

void BlockTable::adopt(std::span<const int32_t> blocks) {
  TOKAMAK_ASSERT(tokens_ == 0);
  blocks_.assign(blocks.begin(), blocks.end());
  tokens_ = static_cast<int32_t>(blocks.size()) * block_size_;
}

void BlockTable::replace(size_t index, int32_t block) {
  if (blocks_.at(index) == block) return;
  pool_->retain(block);
  pool_->release(blocks_[index]);
  blocks_[index] = block;
}

void BlockTable::truncate(int32_t tokens) {
  TOKAMAK_ASSERT(tokens >= 0 && tokens <= tokens_);
  tokens_ = tokens;
  const auto keep = static_cast<size_t>(blocks_of(tokens, block_size_));
  while (blocks_.size() > keep) {
    pool_->release(blocks_.back());
    blocks_.pop_back();
  }
}

BlockTable BlockTable::fork() const {
  BlockTable copy(*pool_, block_size_);
  copy.tokens_ = tokens_;
  copy.blocks_ = blocks_;
  for (const int32_t b : blocks_) pool_->retain(b);
  return copy;
}

}  // namespace tokamak

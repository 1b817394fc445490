// The blocks of one sequence, in order of its tokens. At most one block is partly filled.
#pragma once
#include <span>
#include <utility>

#include "runtime/kv/block_pool.h"

namespace tokamak {

class BlockTable {
 public:
  BlockTable(BlockPool& pool, int32_t block_size) : pool_(&pool), block_size_(block_size) {}
  ~BlockTable() { clear(); }
  BlockTable(BlockTable&& o) noexcept;
  BlockTable& operator=(BlockTable&& o) noexcept;
  BlockTable(const BlockTable&) = delete;

  int32_t tokens() const { return tokens_; }
  std::span<const int32_t> blocks() const { return blocks_; }
  // Blocks that appending n tokens takes from the pool (a shared last block is copied: one more).
  int32_t blocks_for(int32_t n) const;

  struct Copy {
    int32_t from = -1, to = -1;  // KV content to copy; from -1: nothing
  };
  // Makes room for n more tokens. When the partly filled last block is shared, it is replaced by a
  // fresh one and its content must be copied. False, and nothing changed, when blocks are missing.
  bool append(int32_t n, Copy* copy);
  // Appending up to so many blocks allocates no memory for the table itself.
  void reserve(int64_t blocks) { blocks_.reserve(static_cast<size_t>(blocks)); }
  // Begins an empty table with full blocks, whose references become its own.
  void adopt(std::span<const int32_t> blocks);
  // A full block of equal content in place of the one at `index`.
  void replace(size_t index, int32_t block);
  // Drops tokens from the end.
  void truncate(int32_t tokens);
  // A second sequence over the same blocks.
  BlockTable fork() const;
  void clear() { truncate(0); }

 private:
  bool shared_tail() const;
  BlockPool* pool_;
  int32_t block_size_;
  int32_t tokens_ = 0;
  std::vector<int32_t> blocks_;
};

}  // namespace tokamak

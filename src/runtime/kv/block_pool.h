// Which blocks of the KV cache are in use, and by how many sequences. No tensors here: block ids
// only.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace tokamak {

class BlockPool {
 public:
  explicit BlockPool(int32_t blocks = 0) { grow(blocks); }

  int32_t size() const { return static_cast<int32_t>(references_.size()); }
  int32_t free_blocks() const { return static_cast<int32_t>(free_.size()); }
  int32_t used_blocks() const { return size() - free_blocks(); }
  // A block with one reference; empty when none is free. Lowest ids first after growing.
  std::optional<int32_t> allocate();
  void retain(int32_t block);
  // Drops one reference; the last one frees the block.
  void release(int32_t block);
  int32_t references(int32_t block) const { return references_.at(block); }
  // More blocks; ids in use stay.
  void grow(int32_t blocks);

 private:
  std::vector<int32_t> references_;
  std::vector<int32_t> free_;  // a stack
};

}  // namespace tokamak

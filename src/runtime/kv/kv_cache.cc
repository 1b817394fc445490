#include "runtime/kv/kv_cache.h"

#include <algorithm>

#include "engine/kv_layout.h"

namespace tokamak {

KvCache::KvCache(Backend& backend, const Plan& plan, int32_t block_size)
    : backend_(backend),
      dtype_(plan.kv_dtype),
      block_size_(block_size),
      block_bytes_(static_cast<int64_t>(
          kv_block_bytes(plan.kv_dtype, plan.kv_heads, plan.head_dim, block_size))),
      views_(static_cast<size_t>(plan.kv_layers)) {}

void KvCache::grow(int32_t blocks) {
  if (blocks <= blocks_) return;
  const int64_t pool = block_bytes_ * blocks, old_pool = block_bytes_ * blocks_;
  const int64_t total = 2 * pool * static_cast<int64_t>(views_.size());
  const auto memory = static_cast<int64_t>(backend_.properties().memory_bytes);
  if (memory > 0 && total > memory / 10 * 9)
    fail("a KV cache of {} tokens needs {} MB, the machine has {} MB",
         int64_t{blocks} * block_size_, total >> 20, memory >> 20);
  Backend::Buffer fresh = backend_.allocate(static_cast<size_t>(std::max<int64_t>(total, 1)));
  std::byte* next = fresh.get();
  const auto place = [&](std::byte*& old) {
    if (old) backend_.copy_in(next, old, static_cast<size_t>(old_pool));
    old = next;
    next += pool;
  };
  for (KvLayerView& v : views_) {
    place(v.k);
    place(v.v);
  }
  buffer_ = std::move(fresh);
  blocks_ = blocks;
}

void KvCache::copy_block(int32_t from, int32_t to) {
  TOKAMAK_ASSERT(from >= 0 && from < blocks_ && to >= 0 && to < blocks_);
  for (const KvLayerView& v : views_)
    for (std::byte* pool : {v.k, v.v})
      backend_.copy_in(pool + to * block_bytes_, pool + from * block_bytes_,
                       static_cast<size_t>(block_bytes_));
}

}  // namespace tokamak

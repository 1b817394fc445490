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

// In host memory a block's layers lie side by side: K and V of each.
int32_t KvCache::reserve_host(int64_t bytes) {
  const int64_t one = block_bytes_ * 2 * static_cast<int64_t>(views_.size());
  host_blocks_ = static_cast<int32_t>(std::min<int64_t>(bytes / one, int64_t{1} << 30));
  if (bytes > 0 && host_blocks_ == 0)
    fail("{} bytes of host memory hold no KV block: one of {} tokens has {} bytes", bytes,
         block_size_, one);
  host_ = {};
  if (host_blocks_ > 0) host_ = backend_.allocate_shared(static_cast<size_t>(host_blocks_ * one));
  return host_blocks_;
}

void KvCache::copy_block(const KvCopy& c) {
  const int32_t from_end = c.kind == KvCopy::from_host ? host_blocks_ : blocks_;
  const int32_t to_end = c.kind == KvCopy::to_host ? host_blocks_ : blocks_;
  TOKAMAK_ASSERT(c.from >= 0 && c.from < from_end && c.to >= 0 && c.to < to_end);
  const auto bytes = static_cast<size_t>(block_bytes_);
  const int64_t host_block = c.kind == KvCopy::to_host ? c.to : c.from;
  int64_t at = host_block * 2 * static_cast<int64_t>(views_.size()) * block_bytes_;
  for (const KvLayerView& v : views_) {
    for (std::byte* pool : {v.k, v.v}) {
      if (c.kind == KvCopy::within)
        backend_.copy_in(pool + c.to * block_bytes_, pool + c.from * block_bytes_, bytes);
      else if (c.kind == KvCopy::to_host)
        backend_.copy_out(host_.get() + at, pool + c.from * block_bytes_, bytes);
      else
        backend_.copy_in(pool + c.to * block_bytes_, host_.get() + at, bytes);
      at += block_bytes_;
    }
  }
}

}  // namespace tokamak

// What a session allocates when it is opened; on devices with memory of their own all of it is
// planned, checked and reported first.
#include <algorithm>

#include "base/log.h"
#include "engine/kv_layout.h"
#include "runtime/session.h"

namespace tokamak {

MemoryNeed Session::plan_device_memory(int64_t rows, size_t free_bytes) const {
  const int64_t size = kv_.block_size(), most = (int64_t{1} << 30) / size;  // blocks
  MemoryNeed need;
  need.tokens = max_tokens_;
  need.rows = rows;
  need.activations = tokamak::plan_memory(plan(), max_tokens_, rows).bytes;
  need.workspace = program_.workspace_need(max_tokens_, rows);
  need.weights = program_.weight_bytes();
  need.ring = program_.weight_ring().bytes;
  need.host_weights = program_.weight_ring().moved;
  need.kv_per_token = kv_bytes_per_token(plan());
  need.kv_dtype = kv_dtype_name(plan().kv_dtype);
  const auto left = static_cast<double>(static_cast<int64_t>(free_bytes) - need.total());
  const double block = static_cast<double>(std::max<int64_t>(need.kv_per_token * size, 1));
  const double fits = std::clamp(options_.kv_memory_fraction * left / block, 0.0, double(most));
  const int64_t blocks =
      options_.kv_tokens > 0 ? (options_.kv_tokens + size - 1) / size : static_cast<int64_t>(fits);
  need.kv_tokens = std::max<int64_t>(blocks, 1) * size;
  return need;
}

// The share of the weights that was asked for, or the largest that fits.
MemoryNeed Session::place_weights(int64_t rows, size_t free_bytes) {
  const std::optional<double> given = options_.weights_percent;
  if (given && !(*given >= 0 && *given <= 100))
    fail("--gpu_weights_percent is {}; expected 0 to 100", *given);
  const int64_t kv = options_.kv_tokens > 0 ? options_.kv_tokens : config_.limits.max_seq_len;
  const auto fits = [&](const MemoryNeed& need) {
    return need.total() <= static_cast<int64_t>(free_bytes) && need.kv_tokens >= kv;
  };
  MemoryNeed need;
  for (double percent = given.value_or(100); percent >= 0; --percent) {
    program_.keep_percent(percent);
    need = plan_device_memory(rows, free_bytes);
    if (given || fits(need)) break;
  }
  return need;
}

std::string Session::WeightTraffic::line() const {
  const double ms = static_cast<double>(bytes) / 1e6 / std::max(gb_s, 1e-9);
  return fmt::format(
      "{:.2f} GB of weights come from host memory in each step, at {:.1f} GB/s: {:.1f} ms, at most "
      "{:.1f} steps/s",
      static_cast<double>(bytes) / 1e9, gb_s, ms, 1e3 / std::max(ms, 1e-9));
}

void Session::open_memory() {
  const int64_t rows = std::min(config_.limits.max_batch_size, max_rows_);
  int64_t kv_tokens = options_.kv_tokens;
  const auto use = backend_.memory_use();
  if (!use && options_.weights_percent.value_or(100) < 100)
    fail("--gpu_weights_percent is for devices with memory of their own (--device cuda)");
  if (use) {
    if (!(options_.kv_memory_fraction > 0 && options_.kv_memory_fraction <= 1))
      fail("--kv_cache_free_gpu_mem_fraction is {}; expected more than 0, 1 at most",
           options_.kv_memory_fraction);
    const MemoryNeed need = place_weights(rows, use->free);
    kv_tokens = need.kv_tokens;
    if (need.total() > static_cast<int64_t>(use->free))
      fail(
          "not enough GPU memory: {:.1f} of {:.1f} GB are free, and '{}' needs {}; lower "
          "--kv_cache_tokens or --max_num_tokens, use weights of fewer bits (tokamak quantize), or "
          "leave a part of them in host memory (--gpu_weights_percent, {} now)",
          static_cast<double>(use->free) / 1e9, static_cast<double>(use->total) / 1e9,
          engine_.path().string(), need.line(),
          options_.weights_percent ? fmt::format("{:g}", *options_.weights_percent) : "auto");
    log::info("GPU memory, {:.1f} GB of it free:\n{}", static_cast<double>(use->free) / 1e9,
              need.table());
    if (options_.on_memory_plan) options_.on_memory_plan(need);
  }
  program_.load_weights();
  if (program_.weight_ring().bytes > 0) {
    weight_traffic_ = {program_.weight_ring().moved, program_.measure_weight_copy()};
    log::info("{}", weight_traffic_.line());
  }
  size_buffers(rows, config_.limits.max_batch_size, 1);
  if (kv_tokens > 0) need_blocks((kv_tokens + kv_.block_size() - 1) / kv_.block_size());
}

}  // namespace tokamak

#include "backend/step_inputs.h"

#include <algorithm>
#include <utility>

namespace tokamak {

std::vector<int32_t> StepInputs::Memory::replace(int64_t count) {
  const auto n = static_cast<size_t>(count);
  if (!backend_.in_host_memory()) device_ = backend_.allocate(n * 4);
  return std::exchange(host_, std::vector<int32_t>(n));
}

void StepInputs::Memory::upload(int64_t count) {
  if (!backend_.in_host_memory())
    backend_.copy_in(device_.get(), reinterpret_cast<const std::byte*>(host_.data()),
                     static_cast<size_t>(count) * 4);
}

const int32_t* StepInputs::Memory::on_device(const int32_t* host) const {
  if (backend_.in_host_memory()) return host;
  return reinterpret_cast<const int32_t*>(device_.get()) + (host - host_.data());
}

bool StepInputs::resize(int64_t tokens, int64_t sequences, int64_t table_stride, int64_t rows) {
  const bool moves = tokens > tokens_ || sequences > sequences_ || rows > rows_;
  const int64_t old_tokens = tokens_, old_sequences = sequences_, old_rows = rows_;
  tokens_ = std::max(tokens, tokens_);
  sequences_ = std::max(sequences, sequences_);
  rows_ = std::max(rows, rows_);
  if (sequences_ > old_sequences || table_stride > stride_) {
    if (table_stride > stride_) stride_ = std::max(table_stride, 2 * stride_);  // seldom
    table_.replace(sequences_ * stride_);
    block_table = table_.host();
  }
  if (!moves) return false;
  const std::vector<int32_t> old = arrays_.replace(2 * tokens_ + 2 * sequences_ + 1 + rows_);
  int32_t* next = arrays_.host();
  const auto move = [&](int32_t*& array, int64_t count, int64_t filled) {
    if (array) std::copy_n(array, filled, next);
    array = next;
    next += count;
  };
  move(token_ids, tokens_, old_tokens);
  move(positions, tokens_, old_tokens);
  move(query_begin, sequences_ + 1, old_sequences + 1);
  move(context_len, sequences_, old_sequences);
  move(logit_index, rows_, old_rows);
  return true;
}

void StepInputs::upload(StepContext& c) {
  c.max_context = c.max_queries = 0;
  for (int32_t s = 0; s < c.sequences; ++s) {
    c.max_context = std::max(c.max_context, context_len[s]);
    c.max_queries = std::max(c.max_queries, query_begin[s + 1] - query_begin[s]);
  }
  arrays_.upload(2 * tokens_ + 2 * sequences_ + 1 + rows_);
  table_.upload(c.sequences * stride_);
  c.token_ids = device_token_ids();
  c.positions = device_positions();
  c.query_begin = arrays_.on_device(query_begin);
  c.context_len = arrays_.on_device(context_len);
  c.logit_index = arrays_.on_device(logit_index);
  c.block_table = table_.on_device(block_table);
  c.block_table_stride = static_cast<int32_t>(stride_);
}

}  // namespace tokamak

#include "backend/step_inputs.h"

#include <algorithm>
#include <utility>

namespace tokamak {

// The block table stands last: of all it is the largest, and few of its rows are in use.
bool StepInputs::resize(int64_t tokens, int64_t sequences, int64_t table_stride, int64_t rows) {
  if (tokens <= tokens_ && sequences <= sequences_ && table_stride <= stride_ && rows <= rows_)
    return false;
  const int64_t old_tokens = tokens_, old_sequences = sequences_, old_rows = rows_,
                old_stride = stride_;
  tokens_ = std::max(tokens, tokens_);
  sequences_ = std::max(sequences, sequences_);
  if (table_stride > stride_) stride_ = std::max(table_stride, 2 * stride_);  // seldom
  rows_ = std::max(rows, rows_);
  const int64_t n = 2 * tokens_ + 2 * sequences_ + 1 + rows_ + sequences_ * stride_;
  const std::vector<int32_t> old = std::exchange(host_, std::vector<int32_t>(size_t(n)));
  int32_t* next = host_.data();
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
  move(block_table, sequences_ * stride_, stride_ == old_stride ? old_sequences * stride_ : 0);
  if (!backend_.in_host_memory()) device_ = backend_.allocate(static_cast<size_t>(n) * 4);
  return true;
}

const int32_t* StepInputs::on_device(const int32_t* host) const {
  if (backend_.in_host_memory()) return host;
  return reinterpret_cast<const int32_t*>(device_.get()) + (host - host_.data());
}

void StepInputs::upload(StepContext& c) {
  c.max_context = c.max_queries = 0;
  for (int32_t s = 0; s < c.sequences; ++s) {
    c.max_context = std::max(c.max_context, context_len[s]);
    c.max_queries = std::max(c.max_queries, query_begin[s + 1] - query_begin[s]);
  }
  if (!backend_.in_host_memory()) {
    const int32_t* end = block_table + c.sequences * stride_;
    backend_.copy_in(device_.get(), reinterpret_cast<const std::byte*>(host_.data()),
                     static_cast<size_t>(end - host_.data()) * 4);
  }
  c.token_ids = on_device(token_ids);
  c.positions = on_device(positions);
  c.query_begin = on_device(query_begin);
  c.context_len = on_device(context_len);
  c.block_table = on_device(block_table);
  c.block_table_stride = static_cast<int32_t>(stride_);
  c.logit_index = on_device(logit_index);
}

}  // namespace tokamak

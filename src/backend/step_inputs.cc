#include "backend/step_inputs.h"

#include <algorithm>
#include <utility>

namespace tokamak {

std::vector<int32_t> StepInputs::Memory::replace(int64_t count) {
  std::vector<int32_t> old;
  if (count_ > 0) old.assign(host(), host() + count_);
  count_ = count;
  const auto n = static_cast<size_t>(count);
  if (backend_.in_host_memory()) {
    host_.assign(n, 0);
    return old;
  }
  device_.reset();  // waits for what reads the others
  for (Backend::Buffer& b : shared_) {
    b = backend_.allocate_shared(n * 4);
    std::fill_n(reinterpret_cast<int32_t*>(b.get()), n, 0);
  }
  device_ = backend_.allocate(n * 4);
  return old;
}

void StepInputs::Memory::upload(int64_t count) {
  if (host_.empty())
    backend_.copy_in_order(device_.get(), shared_[at_].get(), static_cast<size_t>(count) * 4);
}

const int32_t* StepInputs::Memory::on_device(const int32_t* host) const {
  if (!host_.empty()) return host;
  return reinterpret_cast<const int32_t*>(device_.get()) + (host - shared(at_));
}

void StepInputs::begin() {
  arrays_.turn();
  table_.turn();
  point();
}

void StepInputs::point() {
  int32_t* next = arrays_.host();
  const auto place = [&](int32_t*& array, int64_t count) {
    array = next;
    next += count;
  };
  place(token_ids, tokens_);
  place(positions, tokens_);
  place(adapters, tokens_);
  place(query_begin, sequences_ + 1);
  place(context_len, sequences_);
  place(logit_index, rows_);
  block_table = table_.host();
}

bool StepInputs::resize(int64_t tokens, int64_t sequences, int64_t table_stride, int64_t rows) {
  const bool moves = tokens > tokens_ || sequences > sequences_ || rows > rows_;
  const int64_t filled[] = {tokens_, tokens_, tokens_, sequences_ + 1, sequences_, rows_};
  const bool first = token_ids == nullptr;
  tokens_ = std::max(tokens, tokens_);
  sequences_ = std::max(sequences, sequences_);
  rows_ = std::max(rows, rows_);
  if (sequences_ > filled[4] || table_stride > stride_) {
    if (table_stride > stride_) stride_ = std::max(table_stride, 2 * stride_);  // seldom
    table_.replace(sequences_ * stride_);
    block_table = table_.host();
  }
  if (!moves) return false;
  const std::vector<int32_t> old = arrays_.replace(3 * tokens_ + 2 * sequences_ + 1 + rows_);
  point();
  const int32_t* from = old.data();
  int i = 0;
  for (int32_t* to : {token_ids, positions, adapters, query_begin, context_len, logit_index}) {
    if (!first) std::copy_n(from, filled[i], to);
    from += filled[i++];
  }
  return true;
}

void StepInputs::upload(StepContext& c) {
  c.max_context = c.max_queries = c.prompts = c.first_prompt = 0;
  for (int32_t s = 0; s < c.sequences; ++s) {
    const int32_t queries = query_begin[s + 1] - query_begin[s];
    c.max_context = std::max(c.max_context, context_len[s]);
    c.max_queries = std::max(c.max_queries, queries);
    if (queries > 1 && c.prompts++ == 0) c.first_prompt = s;
  }
  arrays_.upload(3 * tokens_ + 2 * sequences_ + 1 + rows_);
  table_.upload(c.sequences * stride_);
  c.token_ids = device_token_ids();
  c.positions = device_positions();
  c.lora.adapters = arrays_.on_device(adapters);
  c.query_begin = arrays_.on_device(query_begin);
  c.context_len = arrays_.on_device(context_len);
  c.logit_index = arrays_.on_device(logit_index);
  c.block_table = table_.on_device(block_table);
  c.block_table_stride = static_cast<int32_t>(stride_);
}

}  // namespace tokamak

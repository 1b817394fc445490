#include "test_step.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backend/cpu/element.h"

namespace tokamak::test {

std::vector<StepShape> step_shapes() {
  return {{"one_token", {0}, {1}},
          {"decodes", {4, 32, 69}, {1, 1, 1}},
          {"prefill", {0}, {7}, true},
          {"mixed", {17, 40, 0}, {5, 1, 33}},
          {"long_prefill", {3}, {129}}};
}

std::vector<StepShape> attention_step_shapes() {
  std::vector<StepShape> all;
  for (StepShape s : step_shapes()) {
    for (const auto& [dtype, block] : {std::pair{DType::f16, 16},
                                       {DType::f32, 8},
                                       {DType::bf16, 64},
                                       {DType::int8_row, 32},
                                       {DType::f8e4m3, 16}}) {
      if (s.name == "long_prefill" && dtype != DType::f16) continue;  // one is enough: it is slow
      s.kv_dtype = dtype;
      s.block_size = block;
      all.push_back(s);
    }
  }
  all.push_back({"long_context", {700, 0}, {1, 2}, false, DType::f16, 32});
  all.push_back({"long_context", {700, 3}, {1, 1}, false, DType::int8_row, 16});
  all.push_back({"long_context", {300, 0}, {1, 70}, false, DType::f8e4m3, 32});
  all.push_back({"long_context", {590}, {43}, false, DType::bf16, 32});
  return all;
}

std::vector<double> load_kv(DType dtype, const std::byte* row, int64_t head_dim, double scale) {
  std::vector<double> values;
  const bool codes = dtype == DType::int8_row;
  if (codes) scale = load_element(DType::f16, row, 0);
  for (int64_t d = 0; d < head_dim; ++d)
    values.push_back(codes ? scale * load_element(DType::i8, row + 2, d)
                           : scale * load_element(dtype, row, d));
  return values;
}

void store_kv(DType dtype, std::byte* row, const std::vector<double>& values, double scale) {
  const auto n = static_cast<int64_t>(values.size());
  double largest = 0;
  for (const double v : values) largest = std::max(largest, std::fabs(v));
  const bool codes = dtype == DType::int8_row;
  if (codes) store_element(DType::f16, row, 0, largest / 127);
  if (codes) scale = load_element(DType::f16, row, 0);
  for (int64_t d = 0; d < n; ++d) {
    const double v = values[static_cast<size_t>(d)] / scale;
    if (codes)
      store_element(DType::i8, row + 2, d, std::clamp(std::nearbyint(v), -127.0, 127.0));
    else
      store_element(dtype, row, d, v);
  }
}

TestStep::TestStep(const StepShape& s, int64_t vocab, int64_t kv_heads, int64_t head_dim, Rng& rng)
    : shape(s) {
  const int sequences = static_cast<int>(s.past.size());
  query_begin.push_back(0);
  for (int q = 0; q < sequences; ++q) {
    for (int i = 0; i < s.queries[q]; ++i) {
      ids.push_back(static_cast<int32_t>(rng() % static_cast<uint64_t>(vocab)));
      positions.push_back(s.past[q] + i);
      if (s.all_logits) logit_index.push_back(static_cast<int32_t>(positions.size()) - 1);
    }
    query_begin.push_back(static_cast<int32_t>(positions.size()));
    context_len.push_back(s.past[q] + s.queries[q]);
    if (!s.all_logits) logit_index.push_back(query_begin.back() - 1);
  }
  context.tokens = static_cast<int32_t>(positions.size());
  context.sequences = sequences;
  context.logit_rows = static_cast<int32_t>(logit_index.size());
  if (kv_heads > 0) make_cache(kv_heads, head_dim, rng);
  context.token_ids = ids.data();
  context.positions = positions.data();
  context.query_begin = query_begin.data();
  context.context_len = context_len.data();
  context.block_table = block_table.data();
  context.logit_index = logit_index.data();
}

void TestStep::make_cache(int64_t kv_heads, int64_t head_dim, Rng& rng) {
  const int size = shape.block_size;
  int stride = 0, blocks = 3;  // three that nobody owns
  for (const int n : context_len) {
    stride = std::max(stride, (n + size - 1) / size);
    blocks += (n + size - 1) / size;
  }
  std::vector<int32_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), rng);
  block_table.assign(context_len.size() * static_cast<size_t>(stride), 1 << 30);
  context.block_table_stride = stride;
  size_t next = 0;
  for (size_t q = 0; q < context_len.size(); ++q)
    for (int b = 0; b < (context_len[q] + size - 1) / size; ++b)
      block_table[q * static_cast<size_t>(stride) + static_cast<size_t>(b)] = order[next++];

  const int64_t rows = blocks * kv_heads * size;
  cache = {kv_heads, head_dim, {}, {}};
  // NaN in every dtype
  cache.k.assign(row_bytes(shape.kv_dtype, head_dim) * static_cast<size_t>(rows), std::byte{0xff});
  cache.v = cache.k;
  other = cache;
  std::normal_distribution<double> normal(0, 1);
  for (size_t q = 0; q < context_len.size(); ++q)
    for (int64_t h = 0; h < kv_heads; ++h)
      for (int64_t j = 0; j < shape.past[q]; ++j) {
        std::vector<double> k, v;
        for (int64_t d = 0; d < head_dim; ++d) {
          k.push_back(normal(rng));
          v.push_back(normal(rng));
        }
        const int64_t at = row_of(static_cast<int>(q), h, j);
        store_kv(shape.kv_dtype, cache.k.data() + at, k, k_scale());
        store_kv(shape.kv_dtype, cache.v.data() + at, v, v_scale());
      }
}

int64_t TestStep::row_of(int seq, int64_t kv_head, int64_t j) const {
  const int64_t size = shape.block_size;
  const int64_t block =
      block_table[static_cast<size_t>(seq * context.block_table_stride + j / size)];
  return ((block * cache.kv_heads + kv_head) * size + j % size) *
         static_cast<int64_t>(row_bytes(shape.kv_dtype, cache.head_dim));
}

void TestStep::attach(HostKv& kv) {
  layers_[0] = {other.k.data(), other.v.data()};
  layers_[1] = {kv.k.data(), kv.v.data(), k_scale(), v_scale()};
  context.kv = {shape.kv_dtype, shape.block_size, layers_};
}

}  // namespace tokamak::test

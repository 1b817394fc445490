// Steps to run ops on: sequences with their past, and the KV cache of one attention layer.
#pragma once
#include <string>
#include <vector>

#include "backend/backend.h"
#include "host_lora.h"
#include "host_tensor.h"

namespace tokamak::test {

struct StepShape {
  std::string name;
  std::vector<int> past, queries;  // per sequence
  bool all_logits = false;         // every token's row, not only the last of each sequence
  DType kv_dtype = DType::f16;
  int block_size = 16;
};
// One token; decodes; a prefill; chunked prefill mixed with decodes; a longer prefill.
std::vector<StepShape> step_shapes();
// The mixed ones again with each KV dtype and block size: for attention.
std::vector<StepShape> attention_step_shapes();

// The cache of one layer: block b, head h, place i, element d of K and V. What no sequence has
// written is NaN, so that a kernel that reads it shows.
struct HostKv {
  int64_t kv_heads = 0, head_dim = 0;
  std::vector<std::byte> k, v;
};

// A row of the cache: in plain doubles, and back. scale: what a code counts (KvLayerView).
std::vector<double> load_kv(DType dtype, const std::byte* row, int64_t head_dim, double scale = 1);
void store_kv(DType dtype, std::byte* row, const std::vector<double>& values, double scale = 1);

class TestStep {
 public:
  TestStep(const StepShape& shape, int64_t vocab, int64_t kv_heads, int64_t head_dim, Rng& rng);
  TestStep(const TestStep&) = delete;
  TestStep& operator=(const TestStep&) = delete;

  const StepShape shape;
  StepContext context;  // kv.layers: two, of which layer 1 is used
  std::vector<int32_t> ids, positions, query_begin, context_len, block_table, logit_index;
  HostKv cache;   // as the step finds it
  HostKv other;   // layer 0: must stay as it is
  HostLora lora;  // of op lora
  // Of layer 1: other than 1 for fp8.
  float k_scale() const { return shape.kv_dtype == DType::f8e4m3 ? 0.03f : 1; }
  float v_scale() const { return shape.kv_dtype == DType::f8e4m3 ? 0.2f : 1; }
  // Offset in bytes of K or V number j of a sequence.
  int64_t row_of(int seq, int64_t kv_head, int64_t j) const;
  // The launch's own copy of the cache.
  void attach(HostKv& kv);

 private:
  void make_cache(int64_t kv_heads, int64_t head_dim, Rng& rng);
  KvLayerView layers_[2];
};

}  // namespace tokamak::test

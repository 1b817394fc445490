#include "backend/cuda/cuda_tactic.h"

#include <algorithm>

namespace tokamak {

double CudaTactic::estimate_us(const OpSignature& s, int64_t tokens) const {
  constexpr double kLaunchUs = 3;
  const OpCost c = cost(s, tokens, tokens, tokens * 512);
  return kLaunchUs + std::max(c.bytes / target_.read_gb_s, c.flops / target_.f32_gflop_s) * 1e-3;
}

cuda::RowsArg rows_arg(const ValueType& t, const Operand& o, const StepContext& step) {
  cuda::RowsArg r;
  r.data = o.data;
  r.dtype = t.dtype;
  r.width = cuda_width(t);
  r.stride = t.is_weight || t.shape.size() < 2 ? r.width : o.row_stride;
  r.rows = 1;
  for (size_t i = 0; i + 1 < t.shape.size(); ++i)
    r.rows *= t.shape[i].resolve(step.tokens, step.logit_rows);
  return r;
}

cuda::RowsArg from_row(cuda::RowsArg r, int64_t row) {
  if (!r.data) return r;
  r.data = static_cast<std::byte*>(r.data) + bytes_of(r.dtype, row * r.stride);
  r.rows -= row;
  return r;
}

bool in_vectors(const cuda::RowsArg& r) {
  return !r.data ||
         (reinterpret_cast<uintptr_t>(r.data) % 16 == 0 && bytes_of(r.dtype, r.stride) % 16 == 0);
}

cuda::StepArg step_arg(const StepContext& s) {
  return {s.tokens,      s.sequences,   s.logit_rows,   s.max_context,
          s.max_queries, s.prompts,     s.first_prompt, s.query_begin,
          s.context_len, s.block_table, s.logit_index,  s.block_table_stride};
}

}  // namespace tokamak

#include "op_table.h"

#include <algorithm>

namespace tokamak::test {
namespace {

Tolerance of_dtype(DType t) {
  switch (t) {
    case DType::f32:
      return {1e-5, 1e-10};
    case DType::f16:
      return {1.5e-3, 1e-6};
    case DType::bf16:
      return {1e-2, 5e-5};
    default:
      break;
  }
  if (is_block_format(t)) return {5e-3, 1e-3};
  return {0, 0};  // integers: exact
}

}  // namespace

Tolerance tolerance_of(const OpSignature& s, const StepShape& step) {
  Tolerance most{0, 0};
  const auto include = [&most](DType t) {
    most = {std::max(most.element, of_dtype(t).element), std::max(most.nmse, of_dtype(t).nmse)};
  };
  for (const ValueType& t : s.outputs) include(t.dtype);
  if (s.op == Op::attention) include(step.kv_dtype);
  if (s.op == Op::linear || s.op == Op::linear_glu)
    for (const ValueType& t : s.inputs) include(t.dtype);
  return most;
}

OpSignature make_signature(Op op, Attrs attrs, std::vector<ValueType> inputs) {
  OpSignature s;
  s.op = op;
  s.outputs = infer(op, attrs, inputs);
  s.attrs = std::move(attrs);
  s.inputs = std::move(inputs);
  return s;
}

std::vector<OpRow> op_table() {
  std::vector<OpRow> table;
  add_elementwise_rows(table);
  add_row_wise_rows(table);
  add_move_rows(table);
  add_linear_rows(table);
  add_attention_rows(table);
  return table;
}

}  // namespace tokamak::test

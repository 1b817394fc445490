#include "op_table.h"

#include <algorithm>

#include "ops/linear.h"

namespace tokamak::test {
namespace {

Tolerance of_dtype(DType t) {
  switch (t) {
    case DType::f32:
      return {1e-5, 1e-10};
    case DType::f16:
      return {1.5e-3, 1e-6};
    case DType::bf16:
    case DType::int8_row:  // a code may be one off
      return {1e-2, 5e-5};
    case DType::f8e4m3:  // as above
      return {2e-2, 2e-4};
    default:
      break;
  }
  return {0, 0};  // integers: exact
}

// Block weights themselves are exact; the activations beside them may be quantized.
Tolerance of_weight(DType t, int64_t activation_bits) {
  if (!is_block_format(t)) return of_dtype(t);
  // 3 bits of a fraction: 0.025 of each term in the mean, 0.004 of the sum of 128 of them, six
  // times
  if (t == DType::f8_row && activation_bits == 8) return {2.5e-2, 5e-3};
  return activation_bits == 8 ? Tolerance{5e-3, 1e-3} : Tolerance{5e-5, 1e-7};
}

}  // namespace

Tolerance tolerance_of(const OpSignature& s, const StepShape& step, std::string_view tactic) {
  Tolerance most{0, 0};
  const auto include = [&most](Tolerance t) {
    most = {std::max(most.element, t.element), std::max(most.nmse, t.nmse)};
  };
  for (const ValueType& t : s.outputs) include(of_dtype(t.dtype));
  if (s.op == Op::attention) include(of_dtype(step.kv_dtype));
  if (s.op == Op::attention && step.kv_dtype != DType::f32 && tactic.find("amx") != tactic.npos)
    include({0.1, 5e-5});  // bf16 products; of outliers their errors count in the exponent
  if (s.op == Op::attention && step.kv_dtype != DType::f32 && tactic == "attention.split") {
    const bool f16 = step.kv_dtype == DType::f16 || step.kv_dtype == DType::f8e4m3;
    include(f16 ? Tolerance{0.1 / 8, 2e-6}
                : Tolerance{0.1, 5e-5});  // likewise, of the cache's dtype
  }
  if (tactic.find(".bf16.") != tactic.npos) include(of_dtype(DType::bf16));
  if (s.op == Op::linear || s.op == Op::linear_glu)
    for (const ValueType& t : s.inputs)
      include(of_weight(t.dtype, LinearAttrs::from(s.attrs).activation_bits));
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
  add_chain_rows(table);
  add_row_wise_rows(table);
  add_move_rows(table);
  add_linear_rows(table);
  add_attention_rows(table);
  add_lora_rows(table);
  return table;
}

}  // namespace tokamak::test

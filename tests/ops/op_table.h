// The one table that the op tests walk: a row says which signatures of an op to try and what they
// mean, in plain double precision. Every tactic of every backend level is held against it.
#pragma once
#include <vector>

#include "host_tensor.h"
#include "test_step.h"

namespace tokamak::test {

struct OpRow {
  Op op;
  std::vector<OpSignature> (*signatures)();
  // Outputs in double. For attention also what the cache must hold afterwards.
  std::vector<HostTensor> (*reference)(const OpSignature&, const std::vector<HostTensor>& in,
                                       const TestStep& step, HostKv& cache);
  // Whether NaN and infinity must pass through as IEEE arithmetic has it, for this signature.
  bool (*nonfinite)(const OpSignature&) = [](const OpSignature&) { return true; };
};

std::vector<OpRow> op_table();

// Parts of it, one file per family.
void add_elementwise_rows(std::vector<OpRow>& table);
void add_chain_rows(std::vector<OpRow>& table);
void add_row_wise_rows(std::vector<OpRow>& table);
void add_move_rows(std::vector<OpRow>& table);
void add_linear_rows(std::vector<OpRow>& table);
void add_attention_rows(std::vector<OpRow>& table);
void add_lora_rows(std::vector<OpRow>& table);

// One per-dtype table of allowed errors: of an element relative to its magnitude, and of a whole
// tensor (squared error over squared values).
struct Tolerance {
  double element, nmse;
};
// The coarsest of the output's dtype, the KV cache's and the weights' (a block format allows
// activations rounded to 8 bits, bf16 weights allow bf16 products). A tactic whose name says bf16
// rounds weights of every dtype, and activations, to it.
Tolerance tolerance_of(const OpSignature& signature, const StepShape& step,
                       std::string_view tactic);

// Helpers for rows.
OpSignature make_signature(Op op, Attrs attrs, std::vector<ValueType> inputs);
inline constexpr int64_t kOddSizes[] = {1, 3, 31, 33, 63, 65, 576};
inline constexpr DType kActivationTypes[] = {DType::f32, DType::f16, DType::bf16};
double activate_double(const std::string& kind, double x);    // a unary kind
double combine(const std::string& kind, double a, double b);  // a binary kind
// Index into `from` of element `i` of `to`, right-aligned with sizes of 1 stretched.
int64_t broadcast_index(const std::vector<int64_t>& from, const std::vector<int64_t>& to,
                        int64_t i);

}  // namespace tokamak::test

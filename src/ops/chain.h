// chain: connected elementwise ops as one. Its attribute `code` is a program of steps and outputs,
//   "mul x0 0.5; tanh t0; add t1 x1; out f32 t2"
// where x is an operand of the op, t an earlier step, and numbers stand for themselves. All
// operands broadcast to one shape (right-aligned, size 1 stretches), which every output has.
// Arithmetic is float32 (the reference: double); only round_f16 and round_bf16 and the outputs'
// dtypes round to less.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace tokamak {

enum class ChainOp : uint8_t {
  // of one operand; the names of unary's kinds
  neg,
  abs,
  exp,
  log,
  sqrt,
  rsqrt,
  square,
  tanh,
  erf,
  sigmoid,
  silu,
  gelu,
  gelu_tanh,
  relu,
  round_f16,  // to the nearest value of that dtype
  round_bf16,
  // of two; the names of binary's kinds
  add,
  sub,
  mul,
  div,
  pow,
  max,
  min,
};
inline constexpr int kChainOps = static_cast<int>(ChainOp::min) + 1;
inline constexpr int kChainMaxInputs = 8, kChainMaxOutputs = 4, kChainMaxSteps = 64;

// Elements of operands and outputs.
inline bool is_chain_dtype(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16;
}

std::string_view name(ChainOp op);
inline bool takes_two(ChainOp op) { return op >= ChainOp::add; }

struct ChainOperand {
  enum Kind : uint8_t { input, step, number } kind = number;
  int index = 0;     // of the operand or the step
  double value = 0;  // of a number
  bool operator==(const ChainOperand&) const = default;
};

struct ChainStep {
  ChainOp op = ChainOp::neg;
  ChainOperand a, b;  // b: of ops that take two
  bool operator==(const ChainStep&) const = default;
};

struct ChainOutput {
  DType dtype = DType::f32;
  int step = 0;
};

struct Chain {
  std::vector<ChainStep> steps;  // each reads earlier ones
  std::vector<ChainOutput> outputs;

  int inputs() const;  // one more than the largest operand read
  std::string text() const;
  // Error: what is wrong, and where. Every operand, step and output is checked, and that every
  // operand below inputs() is read.
  static Chain parse(std::string_view text);
  // Whether a step is the same all along a row: it reads only numbers, operands of width 1 and
  // other such steps.
  std::vector<bool> uniform_steps(const std::vector<bool>& narrow_inputs) const;
};

// Transcendental functions count 8, as elsewhere in cost().
double chain_flops(const Chain& chain);
// The definition, in double. max and min hand on a NaN of either side.
double apply(ChainOp op, double a, double b);

}  // namespace tokamak

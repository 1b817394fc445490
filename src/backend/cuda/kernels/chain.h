// A chain's program (ops/chain.h) for the interpreting kernel: right for every dtype and shape, and
// used where none could be compiled.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

struct ChainCode {
  static constexpr int kMaxSteps = 64, kMaxInputs = 8, kMaxOutputs = 4;
  enum Kind : int8_t { input, step, number };
  enum Function : int8_t { map, round_f16, round_bf16, pair };
  struct Step {
    int8_t function, kind;  // kind: a MapKind or PairKind
    int8_t a, b;            // Kind of the operands
    int16_t a_index, b_index;
    float a_value, b_value;
  };
  int steps = 0, inputs = 0, outputs = 0;
  Step step_list[kMaxSteps];
  int result[kMaxOutputs];  // steps
};
struct ChainRows {
  RowsArg in[ChainCode::kMaxInputs], out[ChainCode::kMaxOutputs];
  RowMap map[ChainCode::kMaxInputs];
};

void chain(const ChainCode& code, const ChainRows& rows, cudaStream_t stream);

}  // namespace tokamak::cuda

// What every CUDA tactic shares: the device it is made for, the compute capability it needs.
#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/kernels/operand.h"
#include "backend/tactic_registry.h"

namespace tokamak {

// The device as tactics see it; without one (offline) the numbers are those of a typical device of
// this compute capability.
struct CudaTarget {
  int sm = 90;  // 10 * major + minor
  int multiprocessors = 132;
  size_t l2_bytes = 50 << 20;
  double read_gb_s = 3000, f32_gflop_s = 50000, half_gflop_s = 700000;  // rough, for estimates
};

struct CudaExec : ExecContext {
  explicit CudaExec(cudaStream_t s) : stream(s) {}
  cudaStream_t stream;
};

class CudaTactic : public Tactic {
 public:
  CudaTactic(std::string name, Op op, int sm, const CudaTarget& target)
      : target_(target), name_(std::move(name)), op_(op), sm_(sm) {}

  std::string_view name() const override { return name_; }
  Op op() const override { return op_; }
  bool supports(const OpSignature& s) const final {
    return s.op == op_ && target_.sm >= sm_ && fits(s);
  }
  size_t workspace_bytes(const OpSignature&, int64_t) const override { return 0; }
  std::string_view weight_layout(const OpSignature&, int) const override { return "plain"; }
  // From the op's bytes and operations, at what the device may reach.
  double estimate_us(const OpSignature& signature, int64_t tokens) const override;

 protected:
  virtual bool fits(const OpSignature& signature) const = 0;
  const CudaTarget target_;

 private:
  const std::string name_;
  const Op op_;
  const int sm_;  // the least that it needs
};

class CodeStore;  // chain/chain.h

struct CudaRegistry : TacticRegistry {
  CudaTarget target;
  bool offline = false;  // no device: tactics are listed, none is bound
  std::shared_ptr<CodeStore> code;
};

// Operands as the launchers take them.
inline int64_t cuda_width(const ValueType& t) { return t.shape.empty() ? 1 : t.shape.back().size; }
cuda::RowsArg rows_arg(const ValueType& type, const Operand& operand, const StepContext& step);
cuda::RowsArg from_row(cuda::RowsArg rows, int64_t row);  // what is left from there on
// Whether rows begin at multiples of 16 bytes, as vectors and tensor maps need. Null data: yes.
bool in_vectors(const cuda::RowsArg& rows);
cuda::StepArg step_arg(const StepContext& step);

inline bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }
inline bool is_cuda_activation(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16;
}

}  // namespace tokamak

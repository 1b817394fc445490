// A light op at one ISA level: the table of kernels, and functions that check and bind.
#pragma once
#include "backend/cpu/cpu_tactic.h"
#include "backend/cpu/light/light_kernels.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {

class LightTactic final : public CpuTactic {
 public:
  using Fits = bool (*)(const OpSignature&);
  using Bind = std::unique_ptr<Kernel> (*)(const OpSignature&, const LightKernels&);
  using Scratch = int64_t (*)(const OpSignature&);  // floats that a worker needs
  LightTactic(std::string name, Op op, Isa level, const CpuTarget& target,
              const LightKernels& kernels, Fits fits, Bind bind, Scratch scratch)
      : CpuTactic(std::move(name), op, level, target),
        kernels_(kernels),
        fits_(fits),
        bind_(bind),
        scratch_(scratch) {}
  size_t workspace_bytes(const OpSignature& s, int64_t) const override {
    return scratch_ == nullptr ? 0 : static_cast<size_t>(scratch_(s) * target_.workers) * 4;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override { return bind_(s, kernels_); }

 protected:
  bool fits(const OpSignature& s) const override { return fits_(s); }

 private:
  const LightKernels& kernels_;
  const Fits fits_;
  const Bind bind_;
  const Scratch scratch_;
};

// Rows of float32 activations.
struct FloatRows {
  float* data;
  int64_t stride;
  float* row(int64_t r) const { return data + r * stride; }
};
inline FloatRows float_rows(const ValueType& t, const Operand& o) {
  const Rows rows = rows_view(t, o);
  return {o.as<float>(), rows.row_bytes / 4};
}

// Pieces of rows, so that one long row also divides over the workers.
inline constexpr int64_t kPiece = 512;
template <typename F>
void for_pieces(int64_t rows, int64_t width, const CpuExec& e, const F& f) {
  const int64_t per_row = (width + kPiece - 1) / kPiece;
  const WorkRange mine = share(rows * per_row, e.worker, e.workers);
  for (int64_t u = mine.begin; u < mine.end; ++u) {
    const int64_t column = u % per_row * kPiece;
    f(u / per_row, column, std::min(kPiece, width - column));
  }
}

inline bool all_f32(const OpSignature& s) {
  for (const ValueType& t : s.inputs)
    if (t.dtype != DType::f32) return false;
  for (const ValueType& t : s.outputs)
    if (t.dtype != DType::f32) return false;
  return true;
}

}  // namespace tokamak

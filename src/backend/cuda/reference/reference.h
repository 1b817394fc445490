// Reference tactics: one per op, every dtype. The fallback that is always valid.
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_cuda_reference_elementwise(
    CudaRegistry& r);  // constant, unary, binary, cast, softcap, glu
void add_cuda_reference_rowwise(
    CudaRegistry& r);                            // reduce, softmax, norms, embedding, linear(_glu)
void add_cuda_reference_moves(CudaRegistry& r);  // concat, reshape, gather_rows
void add_cuda_reference_attention(CudaRegistry& r);  // rope, attention

// A tactic made of functions.
class CudaSimpleTactic final : public CudaTactic {
 public:
  using Fits = bool (*)(const OpSignature&);
  using Bind = std::unique_ptr<Kernel> (*)(const OpSignature&);
  CudaSimpleTactic(Op op, const CudaTarget& target, Fits fits, Bind bind)
      : CudaTactic(std::string(tokamak::name(op)) + ".reference", op, 0, target),
        fits_(fits),
        bind_(bind) {}
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override { return bind_(s); }
  // A last resort: nothing that also fits is slower.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    return 20 * CudaTactic::estimate_us(s, tokens);
  }

 protected:
  bool fits(const OpSignature& s) const override { return fits_(s); }

 private:
  const Fits fits_;
  const Bind bind_;
};

template <typename K>
std::unique_ptr<Kernel> bind_cuda(const OpSignature& s) {
  return std::make_unique<K>(s);
}

}  // namespace tokamak

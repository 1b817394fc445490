// Reference tactics: one per op, every dtype. The fallback that is always valid. Beside them the
// vectorized ones of the same ops (kernels/vectors.h).
#pragma once
#include "backend/cuda/cuda_tactic.h"

namespace tokamak {

void add_cuda_reference_elementwise(
    CudaRegistry& r);  // constant, unary, binary, cast, softcap, glu
void add_cuda_reference_rowwise(
    CudaRegistry& r);                            // reduce, softmax, norms, embedding, linear(_glu)
void add_cuda_reference_moves(CudaRegistry& r);  // concat, reshape, gather_rows
void add_cuda_reference_attention(CudaRegistry& r);  // rope, attention
void add_cuda_reference_lora(CudaRegistry& r);

// A tactic made of functions.
class CudaSimpleTactic final : public CudaTactic {
 public:
  using Fits = bool (*)(const OpSignature&);
  using Bind = std::unique_ptr<Kernel> (*)(const OpSignature&);
  enum class Kind { reference, vectors };
  CudaSimpleTactic(Op op, const CudaTarget& target, Fits fits, Bind bind,
                   Kind kind = Kind::reference)
      : CudaTactic(
            std::string(tokamak::name(op)) + (kind == Kind::reference ? ".reference" : ".vectors"),
            op, 0, target),
        fits_(fits),
        bind_(bind),
        kind_(kind) {}
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override { return bind_(s); }
  // The reference is a last resort: nothing that also fits is slower.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    return (kind_ == Kind::reference ? 20 : 1) * CudaTactic::estimate_us(s, tokens);
  }

 protected:
  bool fits(const OpSignature& s) const override { return fits_(s); }

 private:
  const Fits fits_;
  const Bind bind_;
  const Kind kind_;
};

// Rows of whole vectors of eight.
bool fits_vectors(const OpSignature& signature);

template <typename K>
std::unique_ptr<Kernel> bind_cuda(const OpSignature& s) {
  return std::make_unique<K>(s);
}

}  // namespace tokamak

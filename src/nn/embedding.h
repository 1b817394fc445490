// Rows of a table by token id, times scale. Weight: prefix.weight [vocab, n].
#pragma once
#include "nn/functional.h"

namespace tokamak::nn {

class Embedding {
 public:
  Embedding(Builder& builder, std::string prefix, int64_t vocab, int64_t n, double scale,
            DType dtype)
      : prefix_(std::move(prefix)),
        table_(builder.weight(prefix_ + ".weight", {vocab, n})),
        scale_(scale),
        dtype_(dtype) {}
  Tensor table() const { return table_; }

  Tensor operator()(Tensor ids) const {  // ids [tokens] i32 → [tokens, n] of dtype
    const Builder::Scope scope(*ids.builder, Builder::Absolute{prefix_});
    Attrs attrs;
    if (scale_ != 1) attrs.set("scale", scale_);
    if (dtype_ != DType::f32) attrs.set("dtype", std::string(name(dtype_)));
    return ids.builder->node(Op::embedding, attrs, {ids, table_}, "");
  }

 private:
  std::string prefix_;
  Tensor table_;
  double scale_;
  DType dtype_;
};

}  // namespace tokamak::nn

#include "nn/builder.h"

namespace tokamak::nn {

Tensor Builder::input(const std::string& name, ValueType type) {
  return {this, graph_.add_input(name, std::move(type))};
}

Tensor Builder::weight(const std::string& name, const std::vector<int64_t>& shape) {
  const std::optional<WeightInfo> found = weights_(name);
  const SymShape want(shape.begin(), shape.end());
  if (!found) fail("weight '{}' of shape {} is missing", name, str(want));
  const SymShape have(found->shape.begin(), found->shape.end());
  if (have != want) fail("weight '{}' has shape {}; expected {}", name, str(have), str(want));
  return {this, graph_.add_weight(name, found->dtype, want)};
}

Tensor Builder::node(Op op, Attrs attrs, const std::vector<Tensor>& inputs,
                     const std::string& leaf) {
  std::vector<ValueId> ids;
  for (const Tensor& t : inputs) {
    TOKAMAK_ASSERT_MSG(t.builder == this, "an operand of '{}' is of another graph", leaf);
    ids.push_back(t.id);
  }
  const auto outputs = graph_.add_node(op, std::move(attrs), std::move(ids), path(leaf));
  return {this, outputs.empty() ? -1 : outputs[0]};
}

Builder::Scope::Scope(Builder& builder, const std::string& prefix)
    : builder_(builder), outer_(builder.scope_) {
  builder.scope_ = builder.path(prefix);
}

Builder::Scope::Scope(Builder& builder, Absolute absolute)
    : builder_(builder), outer_(builder.scope_) {
  builder.scope_ = absolute.path;
}

}  // namespace tokamak::nn

// What layers write into: the graph, the scope that names new nodes, and the shapes of the weights.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace tokamak::nn {

struct WeightInfo {
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
};
// Type of a checkpoint tensor by its name; empty when there is none. Graphs need no files.
using WeightLookup = std::function<std::optional<WeightInfo>(const std::string& name)>;

class Builder;

// A handle on a value of the graph; free to copy.
struct Tensor {
  Builder* builder = nullptr;
  ValueId id = -1;

  const ValueType& type() const;
  int64_t width() const { return type().shape.back().size; }
};

class Builder {
 public:
  Builder(Graph& graph, WeightLookup weights) : graph_(graph), weights_(std::move(weights)) {}
  Graph& graph() { return graph_; }

  Tensor input(const std::string& name, ValueType type);
  bool has_weight(const std::string& name) const { return weights_(name).has_value(); }
  // Error when the checkpoint lacks it or its shape differs from the expected one.
  Tensor weight(const std::string& name, const std::vector<int64_t>& shape);
  // A node called `scope.leaf`; its first output.
  Tensor node(Op op, Attrs attrs, const std::vector<Tensor>& inputs, const std::string& leaf);

  struct Absolute {
    const std::string& path;
  };
  // Prefix of the names of new nodes while the object lives; nests unless absolute.
  class Scope {
   public:
    Scope(Builder& builder, const std::string& prefix);
    Scope(Builder& builder, Absolute absolute);
    ~Scope() { builder_.scope_ = std::move(outer_); }
    Scope(const Scope&) = delete;

   private:
    Builder& builder_;
    std::string outer_;
  };
  const std::string& scope() const { return scope_; }
  std::string path(const std::string& leaf) const {
    return scope_.empty() ? leaf : leaf.empty() ? scope_ : scope_ + "." + leaf;
  }

 private:
  Graph& graph_;
  WeightLookup weights_;
  std::string scope_;
};

inline const ValueType& Tensor::type() const { return builder->graph().value(id).type; }

}  // namespace tokamak::nn

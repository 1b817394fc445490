// The IR: a list of nodes in execution order over typed values. Layers (nn/) append, passes
// rewrite, compile/ lowers. No tensor data lives here: weights are names into the checkpoint.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "ops/op.h"

namespace tokamak {

using ValueId = int32_t;
using NodeId = int32_t;

enum class ValueKind : uint8_t { input, weight, node };

struct Value {
  ValueId id = -1;
  std::string name;  // "transformer.layers.3.attention.qkv.out"; unique
  ValueType type;
  ValueKind kind = ValueKind::node;
  NodeId producer = -1;                   // for kind node
  std::vector<std::string> weight_names;  // for kind weight: checkpoint tensors, joined by rows
};

struct Node {
  NodeId id = -1;
  Op op = Op::unary;
  Attrs attrs;
  std::vector<ValueId> inputs, outputs;
  std::string name;  // the scope it was made in: "transformer.layers.3.mlp"
};

class Graph {
 public:
  ValueId add_input(const std::string& name, ValueType type);
  // The same name again returns the same value; Error when dtype or shape differ.
  ValueId add_weight(const std::string& name, DType dtype, const SymShape& shape);
  ValueId add_joined_weight(const std::vector<ValueId>& parts);  // rows of the parts, in order
  // Infers the outputs; errors name the node's scope. Returns the outputs.
  std::vector<ValueId> add_node(Op op, Attrs attrs, std::vector<ValueId> inputs,
                                const std::string& name);
  void mark_output(ValueId value, const std::string& name);  // e.g. "logits"
  bool is_output(ValueId id) const;
  // For passes: a node with new output values that is not yet in the list (see set_nodes).
  Node make_node(Op op, Attrs attrs, std::vector<ValueId> inputs, const std::string& name);

  const Value& value(ValueId id) const { return values_.at(id); }
  Value& value(ValueId id) { return values_.at(id); }
  const std::vector<Value>& values() const { return values_; }
  // Live nodes in execution order.
  const std::vector<Node>& nodes() const { return nodes_; }
  std::vector<Node>& nodes() { return nodes_; }
  const Node* producer(ValueId id) const;  // null for inputs and weights
  std::vector<NodeId> consumers(ValueId id) const;
  const std::vector<std::pair<std::string, ValueId>>& outputs() const { return outputs_; }

  // For passes: every use of `from` (outputs included) becomes `to`.
  void replace_uses(ValueId from, ValueId to);
  // Replaces the live nodes; checks that every node comes after its inputs.
  void set_nodes(std::vector<Node> nodes);
  // Every invariant (order, types equal to inferred ones, unique names); asserts.
  void check() const;

 private:
  ValueId new_value(std::string name, ValueType type, ValueKind kind);

  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<std::pair<std::string, ValueId>> outputs_;
  std::map<std::string, int> name_uses_;    // how many values asked for a name
  std::map<std::string, ValueId> weights_;  // by name, joined ones by "a+b"
  NodeId next_node_ = 0;
};

}  // namespace tokamak

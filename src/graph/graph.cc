#include "graph/graph.h"

#include <set>

namespace tokamak {
namespace {

void check_sizes(const std::string& name, const SymShape& shape) {
  for (const Dim& d : shape)
    if (d.fixed() && d.size <= 0)
      fail("'{}' has shape {}; expected positive sizes", name, str(shape));
}

}  // namespace

ValueId Graph::new_value(std::string name, ValueType type, ValueKind kind) {
  const int seen = name_uses_[name]++;
  if (seen > 0) {
    // A second value of this name is "name.1", the next "name.2" …
    std::string numbered = fmt::format("{}.{}", name, seen);
    while (name_uses_.count(numbered)) numbered = fmt::format("{}.{}", name, name_uses_[name]++);
    name_uses_[numbered] = 1;
    name = std::move(numbered);
  }
  const ValueId id = static_cast<ValueId>(values_.size());
  values_.push_back({id, std::move(name), std::move(type), kind, -1, {}});
  return id;
}

ValueId Graph::add_input(const std::string& name, ValueType type) {
  check_sizes(name, type.shape);
  if (type.is_weight) fail("graph input '{}' is marked as a weight", name);
  if (name_uses_.count(name)) fail("graph input '{}': a value of that name exists", name);
  return new_value(name, std::move(type), ValueKind::input);
}

ValueId Graph::add_weight(const std::string& name, DType dtype, const SymShape& shape) {
  check_sizes(name, shape);
  const ValueType type{dtype, shape, true};
  for (const Dim& d : shape)
    if (!d.fixed()) fail("weight '{}' has shape {}; expected known sizes", name, str(shape));
  if (const auto it = weights_.find(name); it != weights_.end()) {
    const ValueType& old = values_[it->second].type;
    if (old != type) fail("weight '{}' is used as {} and as {}", name, str(old), str(type));
    return it->second;
  }
  const ValueId id = new_value(name, type, ValueKind::weight);
  values_[id].weight_names = {name};
  weights_[name] = id;
  return id;
}

ValueId Graph::add_joined_weight(const std::vector<ValueId>& parts) {
  TOKAMAK_ASSERT(!parts.empty());
  ValueType type = value(parts[0]).type;
  std::vector<std::string> names;
  std::string key;
  int64_t rows = 0;
  for (ValueId part : parts) {
    const Value& v = value(part);
    TOKAMAK_ASSERT(v.kind == ValueKind::weight && v.type.dtype == type.dtype);
    TOKAMAK_ASSERT(v.type.shape.size() == type.shape.size());
    for (size_t i = 1; i < type.shape.size(); ++i) TOKAMAK_ASSERT(v.type.shape[i] == type.shape[i]);
    rows += v.type.shape[0].size;
    names.insert(names.end(), v.weight_names.begin(), v.weight_names.end());
  }
  for (const std::string& n : names) key += (key.empty() ? "" : "+") + n;
  if (const auto it = weights_.find(key); it != weights_.end()) return it->second;
  type.shape[0] = rows;
  const ValueId id = new_value(key, type, ValueKind::weight);
  values_[id].weight_names = std::move(names);
  weights_[key] = id;
  return id;
}

Node Graph::make_node(Op op, Attrs attrs, std::vector<ValueId> inputs, const std::string& name) {
  std::vector<ValueType> types;
  for (ValueId id : inputs) types.push_back(value(id).type);
  std::vector<ValueType> out;
  try {
    out = infer(op, attrs, types);
  } catch (const Error& e) {
    fail("{}: {}", name, e.what());
  }
  Node node{next_node_++, op, std::move(attrs), std::move(inputs), {}, name};
  for (size_t i = 0; i < out.size(); ++i) {
    const bool sums = op == Op::add_rms_norm || op == Op::add_layer_norm;
    const std::string suffix = i == 0 ? "out" : sums ? "sum" : fmt::format("out{}", i);
    node.outputs.push_back(new_value(fmt::format("{}.{}", name, suffix), out[i], ValueKind::node));
    values_[node.outputs.back()].producer = node.id;
  }
  return node;
}

std::vector<ValueId> Graph::add_node(Op op, Attrs attrs, std::vector<ValueId> inputs,
                                     const std::string& name) {
  nodes_.push_back(make_node(op, std::move(attrs), std::move(inputs), name));
  return nodes_.back().outputs;
}

void Graph::mark_output(ValueId id, const std::string& name) {
  for (const auto& [known, v] : outputs_) {
    if (known != name) continue;
    if (v == id) return;
    fail("graph output '{}' is marked twice, as '{}' and '{}'", name, value(v).name,
         value(id).name);
  }
  outputs_.emplace_back(name, id);
}

bool Graph::is_output(ValueId id) const {
  for (const auto& output : outputs_)
    if (output.second == id) return true;
  return false;
}

const Node* Graph::producer(ValueId id) const {
  const NodeId wanted = value(id).producer;
  if (wanted < 0) return nullptr;
  for (const Node& n : nodes_)
    if (n.id == wanted) return &n;
  return nullptr;
}

std::vector<NodeId> Graph::consumers(ValueId id) const {
  std::vector<NodeId> users;
  for (const Node& n : nodes_)
    for (ValueId in : n.inputs)
      if (in == id && (users.empty() || users.back() != n.id)) users.push_back(n.id);
  return users;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  for (Node& n : nodes_)
    for (ValueId& in : n.inputs)
      if (in == from) in = to;
  for (auto& output : outputs_)
    if (output.second == from) output.second = to;
}

void Graph::set_nodes(std::vector<Node> nodes) {
  nodes_ = std::move(nodes);
  check();
}

void Graph::check() const {
  std::set<ValueId> ready;
  std::set<std::string_view> names;
  for (const Value& v : values_) {
    TOKAMAK_ASSERT_MSG(names.insert(v.name).second, "two values are named '{}'", v.name);
    if (v.kind != ValueKind::node) ready.insert(v.id);
  }
  std::set<NodeId> ids;
  for (const Node& n : nodes_) {
    TOKAMAK_ASSERT_MSG(ids.insert(n.id).second, "node '{}' appears twice", n.name);
    std::vector<ValueType> types;
    for (ValueId in : n.inputs) {
      TOKAMAK_ASSERT_MSG(ready.count(in), "'{}' uses '{}' before it is made", n.name,
                         value(in).name);
      types.push_back(value(in).type);
    }
    const std::vector<ValueType> out = infer(n.op, n.attrs, types);
    TOKAMAK_ASSERT_MSG(out.size() == n.outputs.size(), "'{}'", n.name);
    for (size_t i = 0; i < out.size(); ++i) {
      const Value& v = value(n.outputs[i]);
      TOKAMAK_ASSERT_MSG(v.type == out[i] && v.producer == n.id, "'{}' is {}, inferred {}", v.name,
                         str(v.type), str(out[i]));
      ready.insert(v.id);
    }
  }
  for (const auto& [name, id] : outputs_)
    TOKAMAK_ASSERT_MSG(ready.count(id), "output '{}' is not computed", name);
}

}  // namespace tokamak

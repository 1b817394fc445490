// Linears that share their input become one with their weights joined by rows, and slices of it.
#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"
#include "ops/linear.h"

namespace tokamak {
namespace {

// A weight that nothing else reads: joining would store it twice otherwise.
bool own_weight(const GraphIndex& index, ValueId id) {
  return index.graph().value(id).kind == ValueKind::weight && index.consumers(id).size() == 1 &&
         !index.is_output(id);
}

bool joinable(const GraphIndex& index, const Node& n) {
  if (n.op != Op::linear || index.is_output(n.outputs[0])) return false;
  const LinearAttrs attrs = LinearAttrs::from(n.attrs);
  if (attrs.activation != Activation::none || attrs.has_residual || attrs.float32) return false;
  for (size_t i = 1; i < n.inputs.size(); ++i)
    if (!own_weight(index, n.inputs[i])) return false;
  return true;
}

bool alike(const GraphIndex& index, const Node& a, const Node& b) {
  if (a.inputs[0] != b.inputs[0] || a.inputs.size() != b.inputs.size()) return false;
  for (size_t i = 1; i < a.inputs.size(); ++i)
    if (index.type(a.inputs[i]).dtype != index.type(b.inputs[i]).dtype) return false;
  return true;
}

// "a.q", "a.k", "a.v" → "a.q+k+v"
std::string joined_name(const std::vector<const Node*>& parts) {
  std::string name = parts[0]->name;
  const std::string prefix = name.substr(0, name.rfind('.') + 1);
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i]->name;
    const bool shares = part.compare(0, prefix.size(), prefix) == 0;
    name += "+" + (shares ? part.substr(prefix.size()) : part);
  }
  return name;
}

std::optional<Rewrite> join(Graph& graph, const GraphIndex& index, const Node& root) {
  if (!joinable(index, root)) return std::nullopt;
  std::vector<const Node*> parts;
  for (const Node* n : index.consumers(root.inputs[0]))
    if (joinable(index, *n) && alike(index, root, *n)) parts.push_back(n);
  if (parts.size() < 2 || parts[0] != &root) return std::nullopt;

  std::vector<ValueId> inputs = {root.inputs[0]};
  for (size_t i = 1; i < root.inputs.size(); ++i) {
    std::vector<ValueId> rows;
    for (const Node* n : parts) rows.push_back(n->inputs[i]);
    inputs.push_back(graph.add_joined_weight(rows));
  }
  Rewrite r;
  r.nodes.push_back(graph.make_node(Op::linear, root.attrs, inputs, joined_name(parts)));
  const ValueId joined = r.nodes[0].outputs[0];
  int64_t begin = 0;
  for (const Node* n : parts) {
    const int64_t end = begin + index.type(n->outputs[0]).shape.back().size;
    r.nodes.push_back(
        graph.make_node(Op::slice, Attrs().set("begin", begin).set("end", end), {joined}, n->name));
    r.replaced.emplace_back(n->outputs[0], r.nodes.back().outputs[0]);
    begin = end;
  }
  return r;
}

}  // namespace

int join_linears(Graph& graph) { return rewrite_all(graph, join); }

}  // namespace tokamak

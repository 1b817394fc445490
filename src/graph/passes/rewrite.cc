#include "graph/passes/rewrite.h"

#include <algorithm>
#include <set>

namespace tokamak {

GraphIndex::GraphIndex(const Graph& graph)
    : graph_(&graph),
      producer_(graph.values().size()),
      consumers_(graph.values().size()),
      output_(graph.values().size()) {
  for (const Node& n : graph.nodes()) {
    for (ValueId id : n.outputs) producer_[id] = &n;
    for (ValueId id : n.inputs) consumers_[id].push_back(&n);
  }
  for (const auto& output : graph.outputs()) output_[output.second] = true;
}

bool is_kind(const Node& node, Op op, std::string_view kind) {
  return node.op == op && (kind.empty() || node.attrs.get<std::string>("kind") == kind);
}

const Node* GraphIndex::made_by(ValueId id, Op op, std::string_view kind) const {
  const Node* n = producer_[id];
  return n && is_kind(*n, op, kind) ? n : nullptr;
}

std::optional<double> GraphIndex::scalar(ValueId id) const {
  const Node* n = made_by(id, Op::constant);
  if (!n) return std::nullopt;
  return n->attrs.get<double>("value");
}

bool GraphIndex::is_vector(ValueId id, int64_t n) const {
  const ValueType& t = type(id);
  return t.shape == SymShape{n} &&
         (t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16);
}

bool GraphIndex::private_to(const Node& root, std::initializer_list<ValueId> leaves) const {
  std::set<const Node*> cone = {&root};
  std::vector<const Node*> open = {&root};
  while (!open.empty()) {
    const Node* n = open.back();
    open.pop_back();
    for (ValueId in : n->inputs) {
      const Node* p = producer_[in];
      const bool leaf = std::find(leaves.begin(), leaves.end(), in) != leaves.end();
      if (!p || leaf || p->op == Op::constant || !cone.insert(p).second) continue;
      open.push_back(p);
    }
  }
  for (const Node* n : cone) {
    if (n == &root) continue;
    for (ValueId out : n->outputs) {
      if (output_[out]) return false;
      for (const Node* user : consumers_[out])
        if (!cone.count(user)) return false;
    }
  }
  return true;
}

Rewrite replace_by(Graph& graph, const Node& root, Op op, Attrs attrs,
                   std::vector<ValueId> inputs) {
  Rewrite r;
  r.nodes.push_back(graph.make_node(op, std::move(attrs), std::move(inputs), root.name));
  r.replaced.emplace_back(root.outputs[0], r.nodes[0].outputs[0]);
  return r;
}

Rewrite replace_by_value(const Node& root, ValueId value) {
  return {{}, {{root.outputs[0], value}}};
}

int remove_dead(Graph& graph) {
  std::vector<bool> live(graph.values().size());
  for (const auto& output : graph.outputs()) live[output.second] = true;
  std::vector<Node>& nodes = graph.nodes();
  std::vector<Node> kept;
  for (auto n = nodes.rbegin(); n != nodes.rend(); ++n) {
    const bool used = n->op == Op::send || std::any_of(n->outputs.begin(), n->outputs.end(),
                                                       [&](ValueId id) { return live[id]; });
    if (!used) continue;
    for (ValueId id : n->inputs) live[id] = true;
    kept.push_back(std::move(*n));
  }
  const int removed = static_cast<int>(nodes.size() - kept.size());
  std::reverse(kept.begin(), kept.end());
  nodes = std::move(kept);
  return removed;
}

namespace {

// Only a value of a new node takes over a name.
void take_name(Graph& graph, ValueId from, ValueId to, const std::vector<Node>& fresh) {
  for (const Node& n : fresh)
    if (std::find(n.outputs.begin(), n.outputs.end(), to) != n.outputs.end())
      std::swap(graph.value(from).name, graph.value(to).name);
}

// The first match from `start` on; leaves start where the next search goes on.
bool rewrite_one(Graph& graph, Rule rule, size_t& start) {
  const GraphIndex index(graph);
  std::vector<Node>& nodes = graph.nodes();
  for (size_t i = start; i < nodes.size(); ++i) {
    std::optional<Rewrite> r = rule(graph, index, nodes[i]);
    if (!r) continue;
    for (const auto& [from, to] : r->replaced) take_name(graph, from, to, r->nodes);
    nodes.insert(nodes.begin() + static_cast<std::ptrdiff_t>(i),
                 std::make_move_iterator(r->nodes.begin()),
                 std::make_move_iterator(r->nodes.end()));
    for (const auto& [from, to] : r->replaced) graph.replace_uses(from, to);
    const auto removed = static_cast<size_t>(remove_dead(graph));
    start = i > removed ? i - removed : 0;
    return true;
  }
  return false;
}

}  // namespace

int rewrite_all(Graph& graph, Rule rule) {
  // A match may open another one before it: sweep until a sweep from the beginning finds nothing.
  int count = 0;
  for (bool found = true; found;) {
    found = false;
    size_t start = 0;
    while (rewrite_one(graph, rule, start)) {
      found = true;
      ++count;
    }
  }
  return count;
}

}  // namespace tokamak

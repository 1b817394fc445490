// Elementwise ops that feed each other, or read the same rows, become one chain. Values that are
// read elsewhere, or are outputs, stay values: the chain has them as further outputs.
#include <algorithm>
#include <map>

#include "graph/passes/chain_piece.h"
#include "graph/passes/passes.h"

namespace tokamak {
namespace {

// The nodes with their places; valid until the graph changes.
struct Places {
  explicit Places(const Graph& graph) : index(graph) {
    for (size_t i = 0; i < graph.nodes().size(); ++i) at[&graph.nodes()[i]] = i;
  }
  // All that `node` reads, but for values of `except`, is made before place i.
  bool readable(const Node& node, const Node& except, size_t i) const {
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId id) {
      const Node* p = index.producer(id);
      return !p || p == &except || at.at(p) < i;
    });
  }
  // Every reader of these values, but for `except`, stands behind place i.
  bool unread(const std::vector<ValueId>& values, const Node& except, size_t i) const {
    for (const ValueId id : values)
      for (const Node* n : index.consumers(id))
        if (n != &except && at.at(n) <= i) return false;
    return true;
  }
  bool read_elsewhere(ValueId id, const Node& reader) const {
    const auto& readers = index.consumers(id);
    return index.is_output(id) ||
           std::any_of(readers.begin(), readers.end(), [&](const Node* n) { return n != &reader; });
  }

  const GraphIndex index;
  std::map<const Node*, size_t> at;
};

const SymShape& shape_of(const Places& p, const Node& n) {
  return p.index.type(n.outputs[0]).shape;
}

// Worth doing again for every row that it is stretched over.
bool cheap_to_repeat(const ChainPiece& piece, const SymShape& shape) {
  const bool one_a_row = shape.empty() || shape.back() == Dim(1);
  return one_a_row || chain_flops(piece.chain) <= static_cast<double>(piece.chain.steps.size());
}

// What replaces two nodes (or one, twice the same), and where it stands.
struct Joined {
  ChainPiece piece;
  const Node *first, *second;
  size_t place;
};

std::optional<Joined> with_producer(const Places& p, const Node& node, const ChainPiece& piece,
                                    const Node& producer) {
  const auto first = chain_piece(p.index, producer);
  if (!first) return std::nullopt;
  std::vector<ValueId> kept;
  for (const ValueId id : producer.outputs)
    if (p.read_elsewhere(id, node)) kept.push_back(id);
  if (shape_of(p, producer) != shape_of(p, node) &&
      (!kept.empty() || !cheap_to_repeat(*first, shape_of(p, producer))))
    return std::nullopt;
  size_t place = p.at.at(&node);
  if (!p.unread(kept, node, place)) {
    place = p.at.at(&producer);
    if (!p.readable(node, producer, place)) return std::nullopt;
  }
  std::vector<ValueId> outputs = std::move(kept);
  outputs.insert(outputs.end(), node.outputs.begin(), node.outputs.end());
  auto both = join_pieces(*first, piece, outputs);
  if (!both) return std::nullopt;
  return Joined{std::move(*both), &producer, &node, place};
}

// Another node of the same shape that reads rows that this one reads, too.
std::optional<Joined> with_sibling(const Places& p, const Node& node, const ChainPiece& piece) {
  const size_t at = p.at.at(&node);
  for (const ValueId id : piece.inputs) {
    const ValueType& t = p.index.type(id);
    if (t.is_weight || t.shape != shape_of(p, node)) continue;
    for (const Node* other : p.index.consumers(id)) {
      if (other == &node || p.at.at(other) > at) continue;
      const auto first = chain_piece(p.index, *other);
      if (!first || shape_of(p, *other) != shape_of(p, node)) continue;
      size_t place = at;
      if (!p.unread(other->outputs, node, place)) {
        place = p.at.at(other);
        if (!p.readable(node, *other, place)) continue;
      }
      // What depends on it directly has been tried as with_producer.
      const auto depends = [&](ValueId in) { return p.index.producer(in) == other; };
      if (std::any_of(node.inputs.begin(), node.inputs.end(), depends)) continue;
      std::vector<ValueId> outputs = other->outputs;
      outputs.insert(outputs.end(), node.outputs.begin(), node.outputs.end());
      if (auto both = join_pieces(*first, piece, outputs))
        return Joined{std::move(*both), other, &node, place};
    }
  }
  return std::nullopt;
}

bool reads_constant(const Places& p, const Node& node) {
  return std::any_of(node.inputs.begin(), node.inputs.end(),
                     [&](ValueId id) { return p.index.scalar(id).has_value(); });
}

std::optional<Joined> find_join(const Places& p, const Node& node, bool siblings) {
  const auto piece = chain_piece(p.index, node);
  if (!piece) return std::nullopt;
  if (siblings) return with_sibling(p, node, *piece);
  if (node.op != Op::chain && reads_constant(p, node)) {
    // Alone, but the constants are gone.
    if (auto alone = join_pieces(*piece, *piece, node.outputs))
      return Joined{std::move(*alone), &node, &node, p.at.at(&node)};
  }
  for (const ValueId id : piece->inputs)
    if (const Node* producer = p.index.producer(id))
      if (auto j = with_producer(p, node, *piece, *producer)) return j;
  return std::nullopt;
}

void replace(Graph& graph, Joined j) {
  Node node = graph.make_node(Op::chain, Attrs().set("code", j.piece.chain.text()), j.piece.inputs,
                              j.second->name);
  const std::vector<ValueId> made = node.outputs;
  const NodeId gone[] = {j.first->id, j.second->id};
  std::vector<Node>& nodes = graph.nodes();
  nodes.insert(nodes.begin() + static_cast<std::ptrdiff_t>(j.place) + 1, std::move(node));
  std::erase_if(nodes, [&](const Node& n) { return n.id == gone[0] || n.id == gone[1]; });
  for (size_t i = 0; i < made.size(); ++i) {
    const ValueId old = j.piece.outputs[i];
    TOKAMAK_ASSERT(graph.value(old).type == graph.value(made[i]).type);
    std::swap(graph.value(old).name, graph.value(made[i]).name);
    graph.replace_uses(old, made[i]);
  }
  remove_dead(graph);
}

// Joins from place `start` on, once; leaves start where the next search goes on.
bool join_one(Graph& graph, bool siblings, size_t& start) {
  const Places p(graph);
  for (size_t i = start; i < graph.nodes().size(); ++i) {
    auto joined = find_join(p, graph.nodes()[i], siblings);
    if (!joined) continue;
    const size_t before = graph.nodes().size(), place = joined->place;
    replace(graph, std::move(*joined));
    const size_t gone = before - graph.nodes().size();
    start = place > gone ? place - gone : 0;
    return true;
  }
  return false;
}

}  // namespace

int join_chains(Graph& graph) {
  int count = 0;
  for (bool found = true; found;) {
    found = false;
    for (const bool siblings : {false, true})
      for (size_t start = 0; join_one(graph, siblings, start); found = true) ++count;
  }
  return count;
}

}  // namespace tokamak

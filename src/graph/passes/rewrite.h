// The machinery of passes: an index over the graph, and rules that match at one node (the root) and
// replace it. Nodes that lose their last use disappear with the match.
#pragma once
#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace tokamak {

// Who makes and who uses each value; valid until the graph changes.
class GraphIndex {
 public:
  explicit GraphIndex(const Graph& graph);
  const Graph& graph() const { return *graph_; }
  const Node* producer(ValueId id) const { return producer_[id]; }
  const std::vector<const Node*>& consumers(ValueId id) const { return consumers_[id]; }
  bool is_output(ValueId id) const { return output_[id]; }
  // One operand slot of one node, and not a graph output.
  bool used_once(ValueId id) const { return consumers_[id].size() == 1 && !output_[id]; }
  const ValueType& type(ValueId id) const { return graph_->value(id).type; }

  // The producer when it is this op (and kind, where ops have kinds); null otherwise.
  const Node* made_by(ValueId id, Op op, std::string_view kind = {}) const;
  // The value of a constant.
  std::optional<double> scalar(ValueId id) const;
  // A row of plain floats that every token shares, as norms' weights and biases are: [n].
  bool is_vector(ValueId id, int64_t n) const;
  // True when everything between the root and the leaves is used only in there: then one node may
  // replace it. Constants may be shared.
  bool private_to(const Node& root, std::initializer_list<ValueId> leaves) const;

 private:
  const Graph* graph_;
  std::vector<const Node*> producer_;
  std::vector<std::vector<const Node*>> consumers_;  // one entry a slot
  std::vector<bool> output_;
};

bool is_kind(const Node& node, Op op, std::string_view kind);

// New nodes to stand where the root stood, and which old values they replace. A new value takes the
// name of the old one, so that names survive fusion.
struct Rewrite {
  std::vector<Node> nodes;
  std::vector<std::pair<ValueId, ValueId>> replaced;  // old, new
};
using Rule = std::optional<Rewrite> (*)(Graph& graph, const GraphIndex& index, const Node& root);

// Applies the rule wherever it matches until it matches nowhere; returns how often.
int rewrite_all(Graph& graph, Rule rule);
// A rewrite by one node with one output.
Rewrite replace_by(Graph& graph, const Node& root, Op op, Attrs attrs, std::vector<ValueId> inputs);
// A rewrite by an existing value.
Rewrite replace_by_value(const Node& root, ValueId value);
// Removes nodes without use; returns how many.
int remove_dead(Graph& graph);

}  // namespace tokamak

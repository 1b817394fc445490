// A graph for people: one line a node, or Graphviz.
#pragma once
#include <string>

#include "graph/graph.h"

namespace tokamak {

// "name: type = op[attributes](operands)"; weights show their type where they are used.
std::string to_text(const Graph& graph);
// Input for `dot -Tsvg`; weights stand inside their node.
std::string to_dot(const Graph& graph);

}  // namespace tokamak

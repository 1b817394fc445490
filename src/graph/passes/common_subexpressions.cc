#include <map>

#include "graph/passes/passes.h"
#include "graph/passes/rewrite.h"

namespace tokamak {
namespace {

// attention writes the KV cache, the others talk to other ranks or to user code.
bool has_effects(Op op) {
  return op == Op::attention || op == Op::send || op == Op::recv || op == Op::all_reduce ||
         op == Op::all_gather || op == Op::plugin;
}

bool commutes(const Node& n) {
  return is_kind(n, Op::binary, "add") || is_kind(n, Op::binary, "mul") ||
         is_kind(n, Op::binary, "max") || is_kind(n, Op::binary, "min");
}

std::string key_of(const Node& n) {
  std::vector<ValueId> inputs = n.inputs;
  if (commutes(n) && inputs[0] > inputs[1]) std::swap(inputs[0], inputs[1]);
  std::string key = fmt::format("{}[{}]", name(n.op), n.attrs.key());
  for (ValueId id : inputs) key += fmt::format(",{}", id);
  return key;
}

}  // namespace

int common_subexpressions(Graph& graph) {
  std::map<std::string, std::vector<ValueId>> seen;
  int count = 0;
  std::vector<Node>& nodes = graph.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (has_effects(nodes[i].op)) continue;
    const auto [it, fresh] = seen.try_emplace(key_of(nodes[i]), nodes[i].outputs);
    if (fresh) continue;
    for (size_t o = 0; o < it->second.size(); ++o)
      graph.replace_uses(nodes[i].outputs[o], it->second[o]);
    ++count;
  }
  remove_dead(graph);
  return count;
}

}  // namespace tokamak

#include "graph/debug.h"

namespace tokamak {

bool glob_match(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<std::string> mark_debug(Graph& graph, const std::string& pattern) {
  std::vector<std::string> marked;
  std::string examples;
  int shown = 0, matched = 0;
  for (const Node& n : graph.nodes()) {
    if (n.op == Op::constant) continue;
    for (ValueId id : n.outputs) {
      const Value& v = graph.value(id);
      if (shown < 5) examples += (shown++ ? ", " : "") + v.name;
      if (!glob_match(pattern, v.name) && !glob_match(pattern, n.name)) continue;
      ++matched;
      if (graph.is_output(id)) continue;
      marked.push_back(v.name);
      graph.mark_output(id, v.name);
    }
  }
  if (matched == 0)
    fail("no tensor of the graph is named like '{}'; there are, for example: {}", pattern,
         examples);
  return marked;
}

}  // namespace tokamak

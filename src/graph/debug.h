// Debug outputs: values that a user wants to see. Marked before the passes run, so that fusion
// keeps them.
#pragma once
#include <string>
#include <vector>

#include "graph/graph.h"

namespace tokamak {

// Shell-style: * any run of characters, ? any one.
bool glob_match(std::string_view pattern, std::string_view text);
// Marks every computed value whose name, or node name, matches and that is no output yet; returns
// the names of the new outputs.
// Error when nothing matches, with a few names that exist.
std::vector<std::string> mark_debug(Graph& graph, const std::string& pattern);

}  // namespace tokamak

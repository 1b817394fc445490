// A pass rewrites a graph and returns how many rewrites it made. One file per pass; the order that
// every build uses is in passes.cc, an explicit list.
#pragma once
#include <span>
#include <string_view>

#include "graph/graph.h"

namespace tokamak {

struct Pass {
  std::string_view name;
  std::string_view purpose;  // one line for `inspect`
  int (*run)(Graph& graph);
  bool last = false;  // once the others have settled: it takes what they leave
};

std::span<const Pass> default_passes();

struct PassReport {
  std::string_view name;
  int rewrites;
};
// Runs the list to a fixed point, then the last ones to theirs, and checks the graph after each
// pass.
std::vector<PassReport> run_passes(Graph& graph, std::span<const Pass> passes);

}  // namespace tokamak

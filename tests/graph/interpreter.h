// Runs a graph in double precision, one op at a time: the meaning that passes must preserve.
// Weights are random numbers that depend on their name alone. One sequence; gather_rows takes the
// last rows.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace tokamak::test {

struct Array {
  std::vector<int64_t> shape;
  std::vector<double> data;

  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return static_cast<int64_t>(data.size()) / width(); }
  double* row(int64_t i) { return data.data() + i * width(); }
  const double* row(int64_t i) const { return data.data() + i * width(); }
};

using Arrays = std::map<std::string, Array>;

// Random inputs of the graph for so many tokens: floats are normal, "positions" counts up, other
// integers lie in [0, 8).
Arrays random_inputs(const Graph& graph, int64_t tokens, uint64_t seed);
// The outputs by name.
Arrays interpret(const Graph& graph, const Arrays& inputs, int64_t tokens, int64_t sequences);
// Largest |a - b| / max(1, |b|) over all outputs; infinite when names or shapes differ or on NaN.
double difference(const Arrays& a, const Arrays& b);

}  // namespace tokamak::test

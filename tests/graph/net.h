// A small network under test: weights of any name and shape exist, and passes are checked against
// the interpreter.
#pragma once
#include <gmock/gmock.h>

#include "graph/interpreter.h"
#include "graph/passes/pass.h"
#include "graph/passes/passes.h"
#include "graph/printer.h"
#include "nn/functional.h"
#include "ops/linear.h"

namespace tokamak::test {

class Net {
 public:
  Net() : builder_(graph_, [](const std::string&) { return std::nullopt; }) {}
  Net(const Net&) = delete;

  nn::Tensor input(const std::string& name, int64_t width, DType dtype = DType::f32) {
    return builder_.input(name, {dtype, {Symbol::tokens, width}});
  }
  nn::Tensor positions() { return builder_.input("positions", {DType::i32, {Symbol::tokens}}); }
  nn::Tensor weight(const std::string& name, const SymShape& shape, DType dtype = DType::f32) {
    return {&builder_, graph_.add_weight(name, dtype, shape)};
  }
  nn::Tensor linear(nn::Tensor x, const std::string& name, int64_t out, DType dtype = DType::f32) {
    return builder_.node(Op::linear, {}, {x, weight(name + ".weight", {out, x.width()}, dtype)},
                         name);
  }
  nn::Tensor rms_norm(nn::Tensor x, const std::string& weight_name, double eps = 1e-5) {
    return builder_.node(Op::rms_norm, Attrs().set("eps", eps),
                         {x, weight(weight_name, {x.width()})}, "norm");
  }
  void output(nn::Tensor t, const std::string& name) { graph_.mark_output(t.id, name); }
  nn::Builder& builder() { return builder_; }
  Graph& graph() { return graph_; }

  std::vector<std::string> ops() const {
    std::vector<std::string> names;
    for (const Node& n : graph_.nodes()) names.emplace_back(tokamak::name(n.op));
    return names;
  }
  const Node& last() const { return graph_.nodes().back(); }

  // Runs the pass; the outputs must stay equal. Returns its rewrites.
  int apply(int (*pass)(Graph&), double tolerance = 1e-11) {
    const Arrays inputs = random_inputs(graph_, 5, 7);
    const Arrays before = interpret(graph_, inputs, 5, 2);
    const int rewrites = pass(graph_);
    graph_.check();
    EXPECT_LE(difference(interpret(graph_, inputs, 5, 2), before), tolerance) << to_text(graph_);
    return rewrites;
  }

 private:
  Graph graph_;
  nn::Builder builder_;
};

// What recognises and fuses, without the last passes, which take what is left.
inline int all_passes(Graph& graph) {
  std::vector<Pass> passes;
  for (const Pass& p : default_passes())
    if (!p.last) passes.push_back(p);
  int n = 0;
  for (const PassReport& r : run_passes(graph, passes)) n += r.rewrites;
  return n;
}

}  // namespace tokamak::test

// What stands behind network::Network: a graph and the builder that fills it.
#pragma once
#include "graph/graph.h"
#include "nn/functional.h"
#include "ops/plugin.h"
#include "tokamak/network.h"

namespace tokamak::network {

class NetworkGraph {
 public:
  NetworkGraph() : builder_(graph_, [](const std::string&) { return std::nullopt; }) {}
  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }
  nn::Tensor tensor(int32_t id) { return {&builder_, id}; }
  // Loaded once for each path.
  std::shared_ptr<const PluginLibrary> plugin(const std::string& path) {
    for (const auto& p : plugins_)
      if (p->path() == path) return p;
    plugins_.push_back(PluginLibrary::load(path));
    return plugins_.back();
  }
  const PluginLibraries& plugins() const { return plugins_; }

 private:
  Graph graph_;
  nn::Builder builder_;
  PluginLibraries plugins_;
};

// Between the public handle and the builder's.
struct Access {
  static nn::Tensor in(Tensor t) { return t.graph_->tensor(t.id_); }
  static Tensor out(Tensor like, nn::Tensor t) { return {like.graph_, t.id}; }
  static NetworkGraph* graph(Tensor t) { return t.graph_; }
  // Error for operands of different networks.
  static nn::Tensor in(Tensor t, Tensor like) {
    if (t.graph_ != like.graph_) fail("operands belong to different networks");
    return in(t);
  }
};

}  // namespace tokamak::network

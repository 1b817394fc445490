// Networks of your own, built in C++ and compiled like a model's graph: the passes find the fused
// kernels whatever the arithmetic was written as.
//
//   using namespace tokamak::network;
//   Network net;
//   Tensor x = net.input("x", {tokens, 576});
//   Tensor y = x * rsqrt(mean(pow(x, 2)) + 1e-6) * net.weight("w", {576});  // an RMS norm
//   net.mark_output(y, "y");
//   Compiled c = net.compile({{"w", {{576}, weights}}});
//   Arrays out = c.run({{"x", {{3, 576}, values}}});
//
// Numbers are float32. Shapes broadcast from the right; reductions work on the last dimension and
// keep it with size 1. Every error is a std::runtime_error whose text names the op and the operand.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tokamak::network {

// The first dimension of inputs: how many rows there are is known only when the network runs.
inline constexpr int64_t tokens = -1;

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> data;  // row-major
};
using Arrays = std::map<std::string, Array>;

class NetworkGraph;

// A handle on a value of a network; free to copy, valid while the Network lives.
class Tensor {
 public:
  std::vector<int64_t> shape() const;  // `tokens` where known only at run time

 private:
  friend class Network;
  friend struct Access;
  Tensor(NetworkGraph* graph, int32_t id) : graph_(graph), id_(id) {}
  NetworkGraph* graph_;
  int32_t id_;
};

Tensor operator+(Tensor a, Tensor b);
Tensor operator-(Tensor a, Tensor b);
Tensor operator*(Tensor a, Tensor b);
Tensor operator/(Tensor a, Tensor b);
Tensor operator+(Tensor a, double b);
Tensor operator-(Tensor a, double b);
Tensor operator*(Tensor a, double b);
Tensor operator/(Tensor a, double b);
Tensor operator+(double a, Tensor b);
Tensor operator-(double a, Tensor b);
Tensor operator*(double a, Tensor b);
Tensor operator/(double a, Tensor b);
Tensor operator-(Tensor x);
Tensor pow(Tensor x, double exponent);
Tensor pow(Tensor x, Tensor exponent);
Tensor maximum(Tensor a, Tensor b);
Tensor maximum(Tensor a, double b);
Tensor minimum(Tensor a, Tensor b);
Tensor minimum(Tensor a, double b);

Tensor abs(Tensor x);
Tensor exp(Tensor x);
Tensor log(Tensor x);
Tensor sqrt(Tensor x);
Tensor rsqrt(Tensor x);
Tensor square(Tensor x);
Tensor tanh(Tensor x);
Tensor erf(Tensor x);
Tensor sigmoid(Tensor x);
Tensor silu(Tensor x);
Tensor gelu(Tensor x);       // with erf
Tensor gelu_tanh(Tensor x);  // the tanh approximation
Tensor relu(Tensor x);

Tensor sum(Tensor x);
Tensor mean(Tensor x);
Tensor max(Tensor x);
Tensor softmax(Tensor x);
Tensor softcap(Tensor x, double cap);                         // cap * tanh(x / cap)
Tensor slice(Tensor x, int64_t begin, int64_t end);           // columns [begin, end)
Tensor concat(const std::vector<Tensor>& parts);              // side by side
Tensor reshape(Tensor x, const std::vector<int64_t>& shape);  // 0 keeps a size, -1 takes the rest
Tensor linear(Tensor x, Tensor weight);                       // x · weightᵀ; weight {out, in}
Tensor linear(Tensor x, Tensor weight, Tensor bias);          // bias {out}
Tensor rms_norm(Tensor x, Tensor weight, double eps);         // weight {n}
Tensor layer_norm(Tensor x, Tensor weight, Tensor bias, double eps);

struct CompileOptions {
  int workers = 0;             // 0: one per allowed physical core
  std::string isa;             // "": the best of this machine; else as TOKAMAK_ISA
  std::string device = "cpu";  // or "cuda", for which the two above mean nothing
};

// A network on a device, ready to run.
class Compiled {
 public:
  Compiled(Compiled&&) noexcept;
  ~Compiled();
  // All inputs by name, with equally many rows; returns the outputs by name.
  Arrays run(const Arrays& inputs);
  // The graph after the passes, one line an op.
  std::string graph_text() const;

 private:
  friend class Network;
  struct Impl;
  explicit Compiled(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Network {
 public:
  Network();
  ~Network();
  Network(const Network&) = delete;

  // float32 values; the first dimension is `tokens`.
  Tensor input(const std::string& name, const std::vector<int64_t>& shape);
  // float32 numbers that compile() is given. The same name again is the same weight.
  Tensor weight(const std::string& name, const std::vector<int64_t>& shape);
  void mark_output(Tensor value, const std::string& name);
  // An op of a plug-in library (tokamak/plugin.h), with its attributes as text; its outputs.
  std::vector<Tensor> plugin(const std::string& library, const std::string& op,
                             const std::vector<Tensor>& inputs,
                             const std::map<std::string, std::string>& attributes = {});
  // Marks every intermediate whose name matches (* and ?) as an output, so that no pass swallows
  // it; returns their names. Names are those of graph_text().
  std::vector<std::string> mark_debug(const std::string& pattern);

  std::string graph_text() const;  // as written, one line an op
  std::string graph_dot() const;   // for Graphviz

  // Passes, tactics and packed weights. Error when a weight is missing or has another shape.
  Compiled compile(const Arrays& weights, const CompileOptions& options = {}) const;

 private:
  std::unique_ptr<NetworkGraph> graph_;
};

}  // namespace tokamak::network

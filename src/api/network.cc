#include "tokamak/network.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "api/build.h"
#include "api/network_graph.h"
#include "compile/lower.h"
#include "compile/pack.h"
#include "compile/tuner.h"
#include "engine/plan_check.h"
#include "graph/debug.h"
#include "graph/passes/pass.h"
#include "graph/printer.h"
#include "runtime/program.h"

namespace tokamak::network {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s;
  for (int64_t n : shape)
    s += (s.empty() ? "" : ", ") + (n == tokens ? "tokens" : std::to_string(n));
  return "[" + s + "]";
}

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t s : shape) n *= s;
  return n;
}

void check_data(const std::string& what, const std::string& name, const Array& a) {
  if (elements(a.shape) != static_cast<int64_t>(a.data.size()))
    fail("{} '{}': shape {} needs {} numbers, found {}", what, name, shape_text(a.shape),
         elements(a.shape), a.data.size());
}

// Weights in memory, joined by rows where a pass joined them.
class ArrayWeights final : public WeightSource {
 public:
  explicit ArrayWeights(const Arrays& arrays) : arrays_(arrays) {}
  TensorView load(const PlanWeight& weight) override {
    joined_.clear();
    for (const std::string& name : weight.names) {
      const std::vector<float>& part = arrays_.at(name).data;
      joined_.insert(joined_.end(), part.begin(), part.end());
    }
    const Shape shape{std::span<const int64_t>(weight.shape)};
    TOKAMAK_ASSERT(shape.elems() == static_cast<int64_t>(joined_.size()));
    return {DType::f32, shape, reinterpret_cast<const std::byte*>(joined_.data())};
  }
  void release(const TensorView&, int64_t, int64_t) override {}

 private:
  const Arrays& arrays_;
  std::vector<float> joined_;
};

void check_weights(const Graph& graph, const Arrays& weights) {
  for (const Value& v : graph.values()) {
    if (v.kind != ValueKind::weight) continue;
    const auto it = weights.find(v.name);
    if (it == weights.end()) fail("weight '{}' of shape {} is missing", v.name, str(v.type.shape));
    const SymShape found(it->second.shape.begin(), it->second.shape.end());
    if (found != v.type.shape)
      fail("weight '{}' has shape {}; expected {}", v.name, str(found), str(v.type.shape));
    check_data("weight", v.name, it->second);
  }
}

// A network's engine lives in a file without a name: mapped, and gone with the process.
EngineFile engine_of(Plan& plan, Backend& backend, WeightSource& source) {
  TimingCache cache;
  TuneOptions tune;
  tune.time = false;
  tune.token_buckets = tune.row_buckets = power_buckets(512);
  choose_tactics(plan, backend, source, cache, tune);
  for (PlanWeight& w : plan.weights) w.bytes = packed_weight_bytes(backend, w);
  assign_weight_offsets(plan);
  check_plan(plan);
  std::string directory = (std::filesystem::temp_directory_path() / "tokamak-XXXXXX").string();
  if (!::mkdtemp(directory.data())) fail("cannot make a directory '{}'", directory);
  const auto remove = [&] {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  };
  try {
    const std::filesystem::path file = std::filesystem::path(directory) / "network.engine";
    EngineWriter writer(file, plan);
    for (size_t i = 0; i < plan.weights.size(); ++i)
      pack_weight(backend, source, plan.weights[i], writer.weight(i), [](std::span<std::byte>) {});
    writer.commit();
    EngineFile engine = EngineFile::open(file);
    remove();
    return engine;
  } catch (...) {
    remove();
    throw;
  }
}

}  // namespace

struct Compiled::Impl {
  Impl(Graph g, Plan plan, std::unique_ptr<Backend> b, WeightSource& source)
      : graph(std::move(g)),
        backend(std::move(b)),
        engine(engine_of(plan, *backend, source)),
        program(*backend, engine, /*copy_weights=*/!backend->in_host_memory()) {
    program.load_weights();
  }

  Graph graph;  // after the passes
  std::unique_ptr<Backend> backend;
  EngineFile engine;
  Program program;
  std::map<int32_t, Backend::Buffer> device_inputs;  // by value, where memory is not the host's

  int32_t plan_value(const std::string& name) const {
    const auto& values = engine.plan().values;
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i].name == name && !values[i].type.is_weight) return static_cast<int32_t>(i);
    TOKAMAK_ASSERT_MSG(false, "'{}' is not in the plan", name);
    return -1;
  }
  int64_t set_inputs(const Arrays& inputs);
  const std::byte* on_device(int32_t value, const std::vector<float>& data);
  Array read(int32_t value, int64_t n) const;
};

// Checks names and shapes; returns the number of rows.
int64_t Compiled::Impl::set_inputs(const Arrays& inputs) {
  int64_t n = -1;
  const auto& values = engine.plan().values;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].storage != Storage::input) continue;
    const auto it = inputs.find(values[i].name);
    if (it == inputs.end()) fail("input '{}' is missing", values[i].name);
    const std::vector<int64_t>& found = it->second.shape;
    const SymShape& want = values[i].type.shape;
    bool fits = found.size() == want.size() && !found.empty() && found[0] > 0;
    for (size_t d = 1; fits && d < want.size(); ++d) fits = found[d] == want[d].size;
    if (!fits)
      fail("input '{}' has shape {}; expected {}", it->first, shape_text(found), str(want));
    check_data("input", it->first, it->second);
    if (n >= 0 && found[0] != n)
      fail("input '{}' has {} rows, another input has {}", it->first, found[0], n);
    n = found[0];
    const auto id = static_cast<int32_t>(i);
    program.set_input(id, on_device(id, it->second.data));
  }
  return n;
}

const std::byte* Compiled::Impl::on_device(int32_t value, const std::vector<float>& data) {
  const auto* host = reinterpret_cast<const std::byte*>(data.data());
  if (backend->in_host_memory()) return host;
  const size_t bytes = data.size() * sizeof(float);
  const auto it = device_inputs.find(value);
  if (it == device_inputs.end() || it->second.get_deleter().bytes < bytes)
    device_inputs.insert_or_assign(value, backend->allocate(bytes));
  std::byte* to = device_inputs.at(value).get();
  backend->copy_in(to, host, bytes);
  return to;
}

Array Compiled::Impl::read(int32_t value, int64_t n) const {
  const ValueType& type = engine.plan().values[value].type;
  Array out;
  for (const Dim& d : type.shape) out.shape.push_back(d.resolve(n, n));
  out.data.resize(static_cast<size_t>(elements(out.shape)));
  const Operand from = program.operand(value);
  const int64_t width = columns(type), all = static_cast<int64_t>(out.data.size());
  const int64_t piece = from.row_stride == width ? all : width;  // elements that lie together
  for (int64_t at = 0, place = 0; at < all; at += piece, place += from.row_stride)
    backend->copy_out(reinterpret_cast<std::byte*>(out.data.data() + at), from.data + place * 4,
                      static_cast<size_t>(piece) * 4);
  return out;
}

Compiled::Compiled(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Compiled::Compiled(Compiled&&) noexcept = default;
Compiled::~Compiled() = default;

std::string Compiled::graph_text() const { return to_text(impl_->graph); }

Arrays Compiled::run(const Arrays& inputs) {
  const int64_t n = impl_->set_inputs(inputs);
  impl_->program.plan_memory(n, n, nullptr, nullptr);
  StepContext step;
  step.tokens = step.logit_rows = static_cast<int32_t>(n);
  step.sequences = 1;
  impl_->backend->run(impl_->program.launches(n, n), impl_->program.workspace(), step);
  Arrays outputs;
  for (const auto& [name, id] : impl_->graph.outputs())
    outputs[name] = impl_->read(impl_->plan_value(impl_->graph.value(id).name), n);
  return outputs;
}

Network::Network() : graph_(std::make_unique<NetworkGraph>()) {}
Network::~Network() = default;

Tensor Network::input(const std::string& name, const std::vector<int64_t>& shape) {
  if (shape.empty() || shape[0] != tokens)
    fail("input '{}' has shape {}; expected 'tokens' as its first dimension", name,
         shape_text(shape));
  ValueType type{DType::f32, {Symbol::tokens}};
  type.shape.insert(type.shape.end(), shape.begin() + 1, shape.end());
  return {graph_.get(), graph_->graph().add_input(name, type)};
}

Tensor Network::weight(const std::string& name, const std::vector<int64_t>& shape) {
  return {graph_.get(),
          graph_->graph().add_weight(name, DType::f32, SymShape(shape.begin(), shape.end()))};
}

void Network::mark_output(Tensor value, const std::string& name) {
  if (Access::graph(value) != graph_.get()) fail("output '{}' belongs to another network", name);
  if (Access::in(value).builder->graph().value(value.id_).kind != ValueKind::node)
    fail("output '{}' is an input or a weight; expected something computed", name);
  graph_->graph().mark_output(value.id_, name);
}

std::vector<Tensor> Network::plugin(const std::string& path, const std::string& name,
                                    const std::vector<Tensor>& inputs,
                                    const std::map<std::string, std::string>& attributes) {
  const auto library = graph_->plugin(path);
  const tokamak_op* op = find_plugin_op({library}, name).second;
  std::vector<ValueType> types;
  std::vector<ValueId> ids;
  for (const Tensor& t : inputs) {
    if (Access::graph(t) != graph_.get()) fail("operands of '{}' belong to another network", name);
    ids.push_back(t.id_);
    types.push_back(Access::in(t).type());
  }
  std::vector<Tensor> outputs;
  for (const ValueId id : graph_->graph().add_node(
           Op::plugin, plugin_attrs(library, *op, attributes, types), ids, name))
    outputs.push_back({graph_.get(), id});
  return outputs;
}

std::vector<std::string> Network::mark_debug(const std::string& pattern) {
  return tokamak::mark_debug(graph_->graph(), pattern);
}

std::string Network::graph_text() const { return to_text(graph_->graph()); }
std::string Network::graph_dot() const { return to_dot(graph_->graph()); }

Compiled Network::compile(const Arrays& weights, const CompileOptions& options) const {
  Graph graph = graph_->graph();
  if (graph.outputs().empty()) fail("the network has no output; mark one with mark_output()");
  check_weights(graph, weights);
  run_passes(graph, default_passes());
  Plan plan = lower(graph, {.network = true});
  if (!is_network(plan)) fail("no output of the network depends on an input");
  ArrayWeights source(weights);
  return Compiled(std::make_unique<Compiled::Impl>(
      std::move(graph), std::move(plan),
      make_backend(options.device, options.workers, options.isa, graph_->plugins()), source));
}

}  // namespace tokamak::network

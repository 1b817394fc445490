#include "graph/interpreter.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/attention.h"
#include "ops/chain.h"
#include "ops/linear.h"
#include "ops/scalar_math.h"

namespace tokamak::test {
namespace {

uint64_t hash(const std::string& text) {  // FNV-1a: the same everywhere
  uint64_t h = 1469598103934665603ull;
  for (unsigned char c : text) h = (h ^ c) * 1099511628211ull;
  return h;
}

std::vector<double> normals(size_t n, uint64_t seed, double mean, double deviation) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal(mean, deviation);
  std::vector<double> v(n);
  for (double& x : v) x = normal(rng);
  return v;
}

class Interpreter {
 public:
  Interpreter(const Graph& g, const Arrays& inputs, int64_t tokens, int64_t sequences)
      : g_(g), inputs_(inputs), tokens_(tokens), sequences_(sequences) {}

  Arrays run() {
    for (const Node& n : g_.nodes()) step(n);
    Arrays outputs;
    for (const auto& [name, id] : g_.outputs()) outputs[name] = value(id);
    return outputs;
  }

 private:
  std::vector<int64_t> sizes(const SymShape& shape) const {
    std::vector<int64_t> s;
    for (const Dim& d : shape) s.push_back(d.resolve(tokens_, sequences_));
    return s;
  }
  Array empty(const ValueType& type) const {
    Array a{sizes(type.shape), {}};
    int64_t n = 1;
    for (int64_t s : a.shape) n *= s;
    a.data.resize(n);
    return a;
  }
  // Parts of a joined weight are values of their own in the graph's table.
  const ValueType& part_type(const std::string& name) const {
    for (const Value& v : g_.values())
      if (v.kind == ValueKind::weight && v.weight_names == std::vector<std::string>{name})
        return v.type;
    TOKAMAK_ASSERT(false);
    return g_.value(0).type;
  }
  Array weight(const Value& v) const {
    Array a = empty(v.type);
    a.data.clear();
    for (const std::string& name : v.weight_names) {
      const Array part = empty(v.weight_names.size() == 1 ? v.type : part_type(name));
      const bool vector = part.shape.size() == 1;
      const double spread = vector ? 0.3 : 1 / std::sqrt(static_cast<double>(part.width()));
      const auto data = normals(part.data.size(), hash(name), vector ? 1 : 0, spread);
      a.data.insert(a.data.end(), data.begin(), data.end());
    }
    return a;
  }
  Array& value(ValueId id) {
    if (const auto it = values_.find(id); it != values_.end()) return it->second;
    const Value& v = g_.value(id);
    if (v.kind == ValueKind::input) return values_[id] = inputs_.at(v.name);
    TOKAMAK_ASSERT(v.kind == ValueKind::weight);
    return values_[id] = weight(v);
  }
  const Array& in(const Node& n, size_t i) { return value(n.inputs.at(i)); }

  void step(const Node& n);
  void binary(const Node& n, Array& out);
  void reduce(const Node& n, Array& out);
  void softmax(const Node& n, Array& out);
  void concat(const Node& n, Array& out);
  void linear(const Node& n, Array& out);
  void linear_glu(const Node& n, Array& out);
  void norm(const Node& n, Array& out);
  void add_norm(const Node& n, Array& out);
  void attention(const Node& n, Array& out);
  void chain(const Node& n, Array& out);

  const Graph& g_;
  const Arrays& inputs_;
  int64_t tokens_, sequences_;
  std::map<ValueId, Array> values_;
};

// Index of the element that a broadcast operand gives for flat index i of the result.
size_t broadcast_index(const Array& a, const std::vector<int64_t>& out, size_t i) {
  size_t index = 0, stride = 1;
  for (size_t d = 0; d < out.size(); ++d) {
    const int64_t size = out[out.size() - 1 - d];
    const size_t at = i % static_cast<size_t>(size);
    i /= static_cast<size_t>(size);
    if (d >= a.shape.size()) continue;
    const int64_t own = a.shape[a.shape.size() - 1 - d];
    if (own != 1) index += at * stride;
    stride *= static_cast<size_t>(own);
  }
  return index;
}

void Interpreter::binary(const Node& n, Array& out) {
  const Array &a = in(n, 0), &b = in(n, 1);
  const std::string kind = n.attrs.get<std::string>("kind");
  for (size_t i = 0; i < out.data.size(); ++i)
    out.data[i] = apply_binary(kind, a.data[broadcast_index(a, out.shape, i)],
                               b.data[broadcast_index(b, out.shape, i)]);
}

void Interpreter::reduce(const Node& n, Array& out) {
  const Array& x = in(n, 0);
  const std::string kind = n.attrs.get<std::string>("kind");
  for (int64_t r = 0; r < x.rows(); ++r) {
    double sum = 0, max = -INFINITY;
    for (int64_t i = 0; i < x.width(); ++i) {
      sum += x.row(r)[i];
      max = std::max(max, x.row(r)[i]);
    }
    out.data[r] = kind == "max" ? max : kind == "sum" ? sum : sum / static_cast<double>(x.width());
  }
}

void softmax_row(double* row, int64_t n) {
  const double max = *std::max_element(row, row + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += row[i] = std::exp(row[i] - max);
  for (int64_t i = 0; i < n; ++i) row[i] /= sum;
}

void Interpreter::softmax(const Node& n, Array& out) {
  out.data = in(n, 0).data;
  for (int64_t r = 0; r < out.rows(); ++r) softmax_row(out.row(r), out.width());
}

void Interpreter::concat(const Node& n, Array& out) {
  for (int64_t r = 0; r < out.rows(); ++r) {
    double* to = out.row(r);
    for (size_t i = 0; i < n.inputs.size(); ++i)
      to = std::copy_n(in(n, i).row(r), in(n, i).width(), to);
  }
}

double activated(Activation a, double x) {
  return a == Activation::none ? x : apply_unary(name(a), x);
}

double dot(const double* a, const double* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void Interpreter::linear(const Node& n, Array& out) {
  const LinearAttrs attrs = LinearAttrs::from(n.attrs);
  const Array &x = in(n, 0), &w = in(n, 1);
  for (int64_t r = 0; r < out.rows(); ++r)
    for (int64_t j = 0; j < out.width(); ++j) {
      double y = dot(x.row(r), w.row(j), x.width());
      if (attrs.has_bias) y += in(n, 2).data[j];
      y = activated(attrs.activation, y);
      if (attrs.has_residual) y += in(n, 2 + attrs.has_bias).row(r)[j];
      out.row(r)[j] = y;
    }
}

void Interpreter::linear_glu(const Node& n, Array& out) {
  const LinearAttrs attrs = LinearAttrs::from(n.attrs);
  const Array &x = in(n, 0), &a = in(n, 1), &b = in(n, 2);
  for (int64_t r = 0; r < out.rows(); ++r)
    for (int64_t j = 0; j < out.width(); ++j) {
      const double bias_a = attrs.has_bias ? in(n, 3).data[j] : 0;
      const double bias_b = attrs.has_bias ? in(n, 4).data[j] : 0;
      out.row(r)[j] = activated(attrs.activation, dot(x.row(r), a.row(j), x.width()) + bias_a) *
                      (dot(x.row(r), b.row(j), x.width()) + bias_b);
    }
}

void norm_row(const double* x, double* y, int64_t n, bool centered, double eps, const double* w,
              const double* bias) {
  double mean = 0, square = 0;
  if (centered)
    for (int64_t i = 0; i < n; ++i) mean += x[i] / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) square += (x[i] - mean) * (x[i] - mean) / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i)
    y[i] = (x[i] - mean) / std::sqrt(square + eps) * w[i] + (bias ? bias[i] : 0);
}

void Interpreter::norm(const Node& n, Array& out) {
  const double* bias = n.inputs.size() > 2 ? in(n, 2).data.data() : nullptr;
  for (int64_t r = 0; r < out.rows(); ++r)
    norm_row(in(n, 0).row(r), out.row(r), out.width(), n.op == Op::layer_norm,
             n.attrs.get<double>("eps"), in(n, 1).data.data(), bias);
}

void Interpreter::add_norm(const Node& n, Array& out) {
  Array sum = in(n, 0);
  for (size_t i = 0; i < sum.data.size(); ++i) sum.data[i] += in(n, 1).data[i];
  const double* bias = n.inputs.size() > 3 ? in(n, 3).data.data() : nullptr;
  for (int64_t r = 0; r < out.rows(); ++r)
    norm_row(sum.row(r), out.row(r), out.width(), n.op == Op::add_layer_norm,
             n.attrs.get<double>("eps"), in(n, 2).data.data(), bias);
  values_[n.outputs[1]] = std::move(sum);
}

void turn(double* head, double position, const RopeAttrs& attrs, const RopeTable& table) {
  const int64_t half = attrs.rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    double& a = head[attrs.neox ? i : 2 * i];
    double& b = head[attrs.neox ? i + half : 2 * i + 1];
    const double angle = position * table.inv_freq[i];
    const double c = std::cos(angle) * table.magnitude, s = std::sin(angle) * table.magnitude;
    const double turned = a * c - b * s;
    b = b * c + a * s;
    a = turned;
  }
}

void turn_rows(Array& x, const Array& positions, const RopeAttrs& attrs) {
  const double last = *std::max_element(positions.data.begin(), positions.data.end());
  const RopeTable table = rope_table(attrs, static_cast<int64_t>(last) + 1);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t h = 0; h < x.width(); h += attrs.head_dim)
      turn(x.row(r) + h, positions.data[r], attrs, table);
}

void norm_heads(Array& x, int64_t head_dim, double eps, const double* weight) {
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t h = 0; h < x.width(); h += head_dim)
      norm_row(x.row(r) + h, x.row(r) + h, head_dim, false, eps, weight, nullptr);
}

void attend(const AttentionAttrs& a, const Array& q, const Array& k, const Array& v, Array& out,
            int64_t row, int64_t head) {
  const int64_t kv_head = head / (a.heads / a.kv_heads);
  const int64_t first = a.window > 0 ? std::max<int64_t>(0, row - a.window + 1) : 0;
  std::vector<double> p;
  for (int64_t t = first; t <= row; ++t) {
    const double s =
        a.scale * dot(q.row(row) + head * a.head_dim, k.row(t) + kv_head * a.head_dim, a.head_dim);
    p.push_back(a.softcap > 0 ? a.softcap * std::tanh(s / a.softcap) : s);
  }
  softmax_row(p.data(), static_cast<int64_t>(p.size()));
  for (int64_t i = 0; i < a.head_dim; ++i) {
    double sum = 0;
    for (int64_t t = first; t <= row; ++t) sum += p[t - first] * v.row(t)[kv_head * a.head_dim + i];
    out.row(row)[head * a.head_dim + i] = sum;
  }
}

void Interpreter::attention(const Node& n, Array& out) {
  const AttentionAttrs a = AttentionAttrs::from(n.attrs);
  Array q = in(n, 0), k = in(n, 1);
  if (a.qk_norm) {
    norm_heads(q, a.head_dim, a.qk_norm_eps, in(n, 4).data.data());
    norm_heads(k, a.head_dim, a.qk_norm_eps, in(n, 5).data.data());
  }
  if (a.has_rope) {
    turn_rows(q, in(n, 3), a.rope);
    turn_rows(k, in(n, 3), a.rope);
  }
  for (int64_t r = 0; r < out.rows(); ++r)
    for (int64_t h = 0; h < a.heads; ++h) attend(a, q, k, in(n, 2), out, r, h);
}

// Casts change nothing here, so neither do a chain's roundings.
void Interpreter::chain(const Node& n, Array& out) {
  const Chain c = Chain::parse(n.attrs.get<std::string>("code"));
  std::vector<Array> outs(c.outputs.size(), out);
  for (size_t i = 0; i < out.data.size(); ++i) {
    std::vector<double> t;
    const auto read = [&](const ChainOperand& o) {
      if (o.kind == ChainOperand::number) return o.value;
      if (o.kind == ChainOperand::step) return t[static_cast<size_t>(o.index)];
      const Array& x = in(n, static_cast<size_t>(o.index));
      return x.data[broadcast_index(x, out.shape, i)];
    };
    for (const ChainStep& s : c.steps) {
      const bool rounds = s.op == ChainOp::round_f16 || s.op == ChainOp::round_bf16;
      t.push_back(rounds ? read(s.a) : apply(s.op, read(s.a), takes_two(s.op) ? read(s.b) : 0));
    }
    for (size_t k = 0; k < outs.size(); ++k)
      outs[k].data[i] = t[static_cast<size_t>(c.outputs[k].step)];
  }
  for (size_t k = 1; k < outs.size(); ++k) values_[n.outputs[k]] = std::move(outs[k]);
  out = std::move(outs[0]);
}

void Interpreter::step(const Node& n) {
  Array out = empty(g_.value(n.outputs.at(0)).type);
  switch (n.op) {
    case Op::constant:
      out.data = {n.attrs.get<double>("value")};
      break;
    case Op::unary:
      for (size_t i = 0; i < out.data.size(); ++i)
        out.data[i] = apply_unary(n.attrs.get<std::string>("kind"), in(n, 0).data[i]);
      break;
    case Op::binary:
      binary(n, out);
      break;
    case Op::cast:
    case Op::reshape:
      out.data = in(n, 0).data;
      break;
    case Op::reduce:
      reduce(n, out);
      break;
    case Op::softmax:
      softmax(n, out);
      break;
    case Op::slice:
      for (int64_t r = 0; r < out.rows(); ++r)
        std::copy_n(in(n, 0).row(r) + n.attrs.get<int64_t>("begin"), out.width(), out.row(r));
      break;
    case Op::concat:
      concat(n, out);
      break;
    case Op::gather_rows:
      std::copy_n(in(n, 0).row(tokens_ - sequences_), out.data.size(), out.data.begin());
      break;
    case Op::embedding:
      for (int64_t r = 0; r < out.rows(); ++r)
        for (int64_t i = 0; i < out.width(); ++i)
          out.row(r)[i] = in(n, 1).row(static_cast<int64_t>(in(n, 0).data[r]))[i] *
                          n.attrs.get_or<double>("scale", 1.0);
      break;
    case Op::linear:
      linear(n, out);
      break;
    case Op::linear_glu:
      linear_glu(n, out);
      break;
    case Op::glu:
      for (size_t i = 0; i < out.data.size(); ++i)
        out.data[i] =
            activated(parse_activation(n.attrs.get<std::string>("activation")), in(n, 0).data[i]) *
            in(n, 1).data[i];
      break;
    case Op::rms_norm:
    case Op::layer_norm:
      norm(n, out);
      break;
    case Op::add_rms_norm:
    case Op::add_layer_norm:
      add_norm(n, out);
      break;
    case Op::rope:
      out = in(n, 0);
      turn_rows(out, in(n, 1), RopeAttrs::from(n.attrs));
      break;
    case Op::attention:
      attention(n, out);
      break;
    case Op::chain:
      chain(n, out);
      break;
    case Op::softcap:
      for (size_t i = 0; i < out.data.size(); ++i) {
        const double cap = n.attrs.get<double>("cap");
        out.data[i] = cap * std::tanh(in(n, 0).data[i] / cap);
      }
      break;
    default:
      fail("the test interpreter does not know '{}'", name(n.op));
  }
  values_[n.outputs[0]] = std::move(out);
}

}  // namespace

Arrays random_inputs(const Graph& graph, int64_t tokens, uint64_t seed) {
  Arrays inputs;
  std::mt19937_64 rng(seed);
  for (const Value& v : graph.values()) {
    if (v.kind != ValueKind::input) continue;
    Array a;
    int64_t n = 1;
    for (const Dim& d : v.type.shape) {
      a.shape.push_back(d.resolve(tokens, 1));
      n *= a.shape.back();
    }
    a.data = normals(n, seed ^ hash(v.name), 0, 1);
    if (v.type.dtype == DType::i32)
      for (int64_t i = 0; i < n; ++i)
        a.data[i] =
            static_cast<double>(v.name == "positions" ? i : static_cast<int64_t>(rng() % 8));
    inputs[v.name] = std::move(a);
  }
  return inputs;
}

Arrays interpret(const Graph& graph, const Arrays& inputs, int64_t tokens, int64_t sequences) {
  return Interpreter(graph, inputs, tokens, sequences).run();
}

double difference(const Arrays& a, const Arrays& b) {
  double worst = 0;
  if (a.size() != b.size()) return INFINITY;
  for (const auto& [name, x] : a) {
    const auto it = b.find(name);
    if (it == b.end() || it->second.shape != x.shape) return INFINITY;
    for (size_t i = 0; i < x.data.size(); ++i) {
      const double y = it->second.data[i];
      const double d = std::fabs(x.data[i] - y) / std::max(1.0, std::fabs(y));
      if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
    }
  }
  return worst;
}

}  // namespace tokamak::test

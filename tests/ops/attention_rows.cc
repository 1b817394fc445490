// rope and attention.
#include <cmath>

#include "op_table.h"
#include "ops/attention.h"

namespace tokamak::test {
namespace {

// Turns one head; the angle is rounded to float32 as transformers has it.
void turn(std::vector<double>& head, const RopeAttrs& a, int64_t length, int32_t position) {
  const RopeTable table = rope_table(a, length);
  const size_t half = static_cast<size_t>(a.rotary_dim / 2);
  for (size_t i = 0; i < half; ++i) {
    const size_t p = a.neox ? i : 2 * i, q = a.neox ? i + half : 2 * i + 1;
    const double angle = static_cast<float>(position) * table.inv_freq[i];
    const double c = std::cos(angle) * table.magnitude, s = std::sin(angle) * table.magnitude;
    const double x = head[p], y = head[q];
    head[p] = x * c - y * s;
    head[q] = y * c + x * s;
  }
}

RopeAttrs rope_attrs(int64_t head_dim, int64_t rotary_dim, bool neox, std::string kind = "none") {
  RopeAttrs a;
  a.head_dim = head_dim;
  a.rotary_dim = rotary_dim;
  a.neox = neox;
  a.max_position = 64;
  a.scaling.kind = std::move(kind);
  a.scaling.factor = 4;
  a.scaling.original_max_position = 48;
  if (a.scaling.kind == "longrope") {
    a.scaling.short_factor.assign(static_cast<size_t>(rotary_dim / 2), 1.25);
    a.scaling.long_factor.assign(static_cast<size_t>(rotary_dim / 2), 3.5);
  }
  return a;
}

std::vector<OpSignature> rope_signatures() {
  std::vector<OpSignature> all;
  const auto add = [&](DType t, int64_t heads, const RopeAttrs& r) {
    Attrs a;
    r.write_to(a);
    const ValueType x{t, {Symbol::tokens, heads * r.head_dim}};
    all.push_back(make_signature(Op::rope, a, {x, {DType::i32, {Symbol::tokens}}}));
  };
  for (const DType t : kActivationTypes) add(t, 3, rope_attrs(64, 64, true));
  for (const bool neox : {true, false}) {
    add(DType::f32, 1, rope_attrs(2, 2, neox));
    add(DType::f32, 2, rope_attrs(20, 10, neox));
    add(DType::f32, 5, rope_attrs(80, 80, neox));
  }
  for (const char* kind : {"linear", "dynamic", "llama3", "yarn", "longrope"})
    add(DType::f32, 2, rope_attrs(32, 32, true, kind));
  return all;
}

std::vector<HostTensor> rope(const OpSignature& s, const std::vector<HostTensor>& in,
                             const TestStep& step, HostKv&) {
  const RopeAttrs a = RopeAttrs::from(s.attrs);
  HostTensor y = in[0];
  y.type = s.outputs[0];
  for (int seq = 0; seq < step.context.sequences; ++seq)
    for (int64_t t = step.query_begin[seq]; t < step.query_begin[seq + 1]; ++t)
      for (int64_t h = 0; h < y.width(); h += a.head_dim) {
        const auto from = y.values.begin() + t * y.width() + h;
        std::vector<double> head(from, from + a.head_dim);
        turn(head, a, step.context_len[seq], step.positions[t]);
        std::copy(head.begin(), head.end(), from);
      }
  for (const double x : in[0].values) y.magnitude.push_back(std::fabs(x) + 1);
  return {y};
}

std::vector<OpSignature> attention_signatures() {
  std::vector<OpSignature> all;
  const auto add = [&](DType t, AttentionAttrs a) {
    a.layer = 1;
    a.scale = 1 / std::sqrt(double(a.head_dim));
    const ValueType kv{t, {Symbol::tokens, a.kv_heads * a.head_dim}},
        norm{DType::f32, {a.head_dim}, true};
    std::vector<ValueType> in = {
        {t, {Symbol::tokens, a.heads * a.head_dim}}, kv, kv, {DType::i32, {Symbol::tokens}}};
    if (a.qk_norm) in.insert(in.end(), {norm, norm});
    all.push_back(make_signature(Op::attention, a.to_attrs(), in));
  };
  AttentionAttrs a;
  a.heads = 9, a.kv_heads = 3, a.head_dim = 64, a.has_rope = true,
  a.rope = rope_attrs(64, 64, true);
  add(DType::f32, a);
  add(DType::bf16, a);
  a.rope = rope_attrs(64, 32, false);
  add(DType::f32, a);
  a.rope = rope_attrs(64, 64, true, "longrope");
  add(DType::f32, a);
  a = {};
  a.heads = 4, a.kv_heads = 1, a.head_dim = 256, a.qk_norm = true, a.window = 13;
  a.has_rope = true, a.rope = rope_attrs(256, 256, true);
  add(DType::f32, a);
  a = {};
  a.heads = 2, a.kv_heads = 2, a.head_dim = 20, a.softcap = 1.5;
  add(DType::f32, a);
  a = {};
  a.heads = 4, a.kv_heads = 2, a.head_dim = 80, a.window = 1;
  add(DType::f16, a);
  a.window = 33, a.softcap = 20, a.head_dim = 96;
  add(DType::f32, a);
  a = {};
  a.heads = 8, a.kv_heads = 2, a.head_dim = 128, a.has_rope = true;
  a.rope = rope_attrs(128, 128, true);
  add(DType::f16, a);
  a.deterministic = true;
  add(DType::bf16, a);
  a = {};
  a.heads = 3, a.kv_heads = 3, a.head_dim = 128, a.has_rope = true;
  a.rope = rope_attrs(128, 128, true, "longrope");
  add(DType::bf16, a);
  a = {};
  a.heads = 20, a.kv_heads = 1, a.head_dim = 64;
  add(DType::f16, a);
  a = {};
  a.alibi = true;
  a.heads = 8, a.kv_heads = 8, a.head_dim = 64;
  add(DType::f16, a);
  add(DType::f32, a);
  a.heads = 6, a.kv_heads = 3, a.head_dim = 80, a.softcap = 2;
  add(DType::f32, a);
  a.heads = 14, a.kv_heads = 2, a.head_dim = 128, a.softcap = 0, a.window = 21;
  add(DType::bf16, a);
  return all;
}

struct Heads {
  const OpSignature& s;
  const AttentionAttrs a;
  const std::vector<HostTensor>& in;
  const TestStep& step;

  std::vector<double> load(size_t input, int64_t t, int64_t head, int seq) const {
    std::vector<double> x;
    for (int64_t d = 0; d < a.head_dim; ++d) x.push_back(in[input].at(t, head * a.head_dim + d));
    if (input == 2) return x;
    if (a.qk_norm) {
      double square = 0;
      for (const double v : x) square += v * v / double(a.head_dim);
      for (size_t d = 0; d < x.size(); ++d)
        x[d] *= in[4 + input].values[d] / std::sqrt(square + a.qk_norm_eps);
    }
    if (a.has_rope) turn(x, a.rope, step.context_len[seq], step.positions[t]);
    return x;
  }
};

// ALiBi as the paper's own code has it, power of two by power of two.
double slope_of(int64_t head, int64_t heads) {
  const double n = std::pow(2, std::floor(std::log2(static_cast<double>(heads))));
  if (static_cast<double>(head) < n) {
    const double start = std::pow(2, -std::pow(2, -(std::log2(n) - 3)));
    return start * std::pow(start, static_cast<double>(head));
  }
  const double start = std::pow(2, -std::pow(2, -(std::log2(2 * n) - 3)));
  return start * std::pow(start, 2 * (static_cast<double>(head) - n));
}

// Weighted values of keys first … last; sets the output and what its error is measured against.
void attend(const Heads& h, const HostKv& cache, int seq, int64_t head, int64_t t, int64_t last,
            HostTensor& y) {
  const AttentionAttrs& a = h.a;
  const std::vector<double> q = h.load(0, t, head, seq);
  const int64_t first = a.window > 0 ? std::max<int64_t>(0, last - a.window + 1) : 0;
  const int64_t kv_head = head / (a.heads / a.kv_heads);
  const DType dtype = h.step.shape.kv_dtype;
  const double slope = slope_of(head, a.heads);
  std::vector<double> p;
  std::vector<std::vector<double>> values;
  double largest = -1e300, sum = 0, products = 0;  // products: the largest sum of |q k| * scale
  for (int64_t j = first; j <= last; ++j) {
    double score = 0, product = 0;
    const int64_t row = h.step.row_of(seq, kv_head, j);
    const std::vector<double> k =
        load_kv(dtype, cache.k.data() + row, a.head_dim, h.step.k_scale());
    values.push_back(load_kv(dtype, cache.v.data() + row, a.head_dim, h.step.v_scale()));
    for (int64_t d = 0; d < a.head_dim; ++d) {
      const double p = a.scale * q[static_cast<size_t>(d)] * k[static_cast<size_t>(d)];
      score += p;
      product += std::fabs(p);
    }
    products = std::max(products, product);
    if (a.softcap > 0) score = a.softcap * std::tanh(score / a.softcap);
    if (a.alibi) score += slope * static_cast<double>(j - last);
    p.push_back(score);
    largest = std::max(largest, score);
  }
  for (double& v : p) sum += v = std::exp(v - largest);
  for (int64_t d = 0; d < a.head_dim; ++d) {
    double v = 0, size = 0;
    for (int64_t j = first; j <= last; ++j) {
      const size_t i = static_cast<size_t>(j - first);
      const double w = p[i] / sum * values[i][static_cast<size_t>(d)];
      v += w;
      size += std::fabs(w);
    }
    const size_t at = static_cast<size_t>(t * y.width() + head * a.head_dim + d);
    y.values[at] = v;
    // An error of a score is relative to its products and counts as it is in the exponent.
    y.magnitude[at] = (size + 1) * (1 + 0.05 * products);
  }
}

std::vector<HostTensor> attention(const OpSignature& s, const std::vector<HostTensor>& in,
                                  const TestStep& step, HostKv& cache) {
  const Heads h{s, AttentionAttrs::from(s.attrs), in, step};
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  y.magnitude.resize(y.values.size());
  const DType dtype = step.shape.kv_dtype;
  for (int seq = 0; seq < step.context.sequences; ++seq) {
    const int64_t begin = step.query_begin[seq], past = step.shape.past[seq];
    const int64_t queries = step.query_begin[seq + 1] - begin;
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t kv_head = 0; kv_head < h.a.kv_heads; ++kv_head) {
        const int64_t row = step.row_of(seq, kv_head, past + i);
        store_kv(dtype, cache.k.data() + row, h.load(1, begin + i, kv_head, seq), step.k_scale());
        store_kv(dtype, cache.v.data() + row, h.load(2, begin + i, kv_head, seq), step.v_scale());
      }
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t head = 0; head < h.a.heads; ++head)
        attend(h, cache, seq, head, begin + i, past + i, y);
  }
  return {y};
}

}  // namespace

void add_attention_rows(std::vector<OpRow>& table) {
  table.push_back({Op::rope, rope_signatures, rope});
  table.push_back(
      {Op::attention, attention_signatures, attention, [](const OpSignature&) { return false; }});
}

}  // namespace tokamak::test

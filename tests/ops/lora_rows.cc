// lora: the adapter of each token, added.
#include <cmath>

#include "op_table.h"

namespace tokamak::test {
namespace {

std::vector<OpSignature> signatures() {
  std::vector<OpSignature> all;
  const auto add = [&](DType x, DType y, int64_t k, std::vector<int64_t> parts,
                       std::vector<int64_t> widths, int64_t rank) {
    int64_t n = 0;
    for (const int64_t w : widths) n += w;
    all.push_back(make_signature(Op::lora,
                                 LoraAttrs{std::move(parts), std::move(widths), rank}.to_attrs(),
                                 {{x, {Symbol::tokens, k}}, {y, {Symbol::tokens, n}}}));
  };
  for (const DType t : kActivationTypes) {
    add(t, t, 65, {0}, {33}, 8);
    add(t, DType::f32, 65, {0}, {33}, 8);
    add(t, t, 576, {2, 0, 5}, {96, 31, 64}, 16);
  }
  add(DType::f32, DType::f32, 1, {0}, {1}, 1);
  add(DType::f32, DType::f32, 63, {1}, {576}, 64);
  return all;
}

std::vector<HostTensor> lora(const OpSignature& s, const std::vector<HostTensor>& in,
                             const TestStep& step, HostKv&) {
  const LoraAttrs attrs = LoraAttrs::from(s.attrs);
  const HostTensor &x = in[0], &y = in[1];
  HostTensor out = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  out.values = y.values;
  for (const double v : y.values) out.magnitude.push_back(std::fabs(v));
  for (int64_t t = 0; t < y.rows(); ++t) {
    const int32_t adapter = step.lora.adapters[static_cast<size_t>(t)];
    int64_t column = t * y.width();
    for (size_t i = 0; i < attrs.parts.size(); column += attrs.widths[i++]) {
      if (adapter < 0) continue;
      const HostLora::Part& part = step.lora.part(adapter, attrs.parts[i]);
      for (int64_t r = 0; r < part.rank; ++r) {
        double h = 0, magnitude = 0;
        for (int64_t c = 0; c < x.width(); ++c) {
          const double term = x.at(t, c) * part.a[static_cast<size_t>(r * x.width() + c)];
          h += term;
          magnitude += std::isfinite(term) ? std::fabs(term) : 0;
        }
        for (int64_t c = 0; c < attrs.widths[i]; ++c) {
          const double b = part.scale * part.b[static_cast<size_t>(r * attrs.widths[i] + c)];
          out.values[static_cast<size_t>(column + c)] += h * b;
          out.magnitude[static_cast<size_t>(column + c)] += magnitude * std::fabs(b);
        }
      }
    }
  }
  return {out};
}

}  // namespace

void add_lora_rows(std::vector<OpRow>& table) { table.push_back({Op::lora, signatures, lora}); }

}  // namespace tokamak::test

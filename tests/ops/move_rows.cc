// concat, reshape, gather_rows, embedding: values move, so they stay exact (but for the scale).
#include <cmath>

#include "backend/cpu/element.h"
#include "op_table.h"

namespace tokamak::test {
namespace {

std::vector<OpSignature> concat_signatures() {
  std::vector<OpSignature> all;
  for (const DType t : kActivationTypes)
    all.push_back(make_signature(
        Op::concat, {},
        {{t, {Symbol::tokens, 33}}, {t, {Symbol::tokens, 1}}, {t, {Symbol::tokens, 64}}}));
  return all;
}

std::vector<HostTensor> concat(const OpSignature& s, const std::vector<HostTensor>& in,
                               const TestStep& step, HostKv&) {
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  for (int64_t r = 0; r < y.rows(); ++r) {
    int64_t at = r * y.width();
    for (const HostTensor& x : in)
      for (int64_t c = 0; c < x.width(); ++c) y.values[static_cast<size_t>(at++)] = x.at(r, c);
  }
  return {y};
}

std::vector<OpSignature> reshape_signatures() {
  std::vector<OpSignature> all;
  for (const DType t : kActivationTypes) {
    const auto shape = [](std::vector<int64_t> v) { return Attrs().set("shape", std::move(v)); };
    all.push_back(make_signature(Op::reshape, shape({0, 9, -1}), {{t, {Symbol::tokens, 63}}}));
    all.push_back(make_signature(Op::reshape, shape({0, -1}), {{t, {Symbol::tokens, 3, 31}}}));
  }
  return all;
}

std::vector<HostTensor> reshape(const OpSignature& s, const std::vector<HostTensor>& in,
                                const TestStep& step, HostKv&) {
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  y.values = in[0].values;
  return {y};
}

std::vector<OpSignature> gather_signatures() {
  std::vector<OpSignature> all;
  for (const DType t : kActivationTypes)
    for (const int64_t n : {65, 72})
      all.push_back(make_signature(Op::gather_rows, {}, {{t, {Symbol::tokens, n}}}));
  all.push_back(make_signature(Op::gather_rows, {}, {{DType::f32, {Symbol::tokens, 3, 5}}}));
  return all;
}

std::vector<HostTensor> gather(const OpSignature& s, const std::vector<HostTensor>& in,
                               const TestStep& step, HostKv&) {
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  const size_t n = y.values.size() / step.logit_index.size();  // elements of a token
  for (size_t i = 0; i < y.values.size(); ++i)
    y.values[i] = in[0].values[static_cast<size_t>(step.logit_index[i / n]) * n + i % n];
  return {y};
}

constexpr int64_t kVocab = 37;

std::vector<OpSignature> embedding_signatures() {
  std::vector<OpSignature> all;
  for (int i = 0; i < kDTypeCount; ++i) {
    const DType t = static_cast<DType>(i);
    if (!is_block_format(t) && !is_activation_dtype(t)) continue;
    const ValueType ids{DType::i32, {Symbol::tokens}};
    const std::vector<int64_t> widths =
        is_block_format(t) ? std::vector<int64_t>{256, 768} : std::vector<int64_t>{1, 65, 576};
    for (const int64_t n : widths)
      for (const double scale : {1.0, 5.5})
        all.push_back(make_signature(Op::embedding, Attrs().set("scale", scale),
                                     {ids, {t, {kVocab, n}, true}}));
  }
  return all;
}

std::vector<HostTensor> embedding(const OpSignature& s, const std::vector<HostTensor>& in,
                                  const TestStep& step, HostKv&) {
  HostTensor y = zeros(s.outputs[0], step.context.tokens, step.context.logit_rows);
  for (int64_t t = 0; t < y.rows(); ++t)
    for (int64_t c = 0; c < y.width(); ++c)
      y.values[static_cast<size_t>(t * y.width() + c)] =
          in[1].at(step.ids[static_cast<size_t>(t)], c) * s.attrs.get<double>("scale");
  return {y};
}

}  // namespace

void add_move_rows(std::vector<OpRow>& table) {
  table.push_back({Op::concat, concat_signatures, concat});
  table.push_back({Op::reshape, reshape_signatures, reshape});
  table.push_back({Op::gather_rows, gather_signatures, gather});
  table.push_back({Op::embedding, embedding_signatures, embedding});
}

}  // namespace tokamak::test

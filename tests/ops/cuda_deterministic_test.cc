// On a CUDA device a token's result has the same bits alone and among others: of deterministic
// linear ops, from the kernels that are chosen for the two numbers of tokens, and of norms and
// softmax from each kernel, for these are in deterministic engines as they are.
#include <gtest/gtest.h>

#include <cstring>

#include "cuda_device.h"
#include "launcher.h"
#include "op_table.h"
#include "ops/linear.h"

namespace tokamak::test {
namespace {

constexpr uint64_t kSeed = 20261121;
constexpr int64_t kOutputs = 392, kInputs = 1280;  // several blocks share a tile

OpSignature signature_of(Op op, DType x, DType w) {
  LinearAttrs a;
  a.activation = op == Op::linear_glu ? Activation::silu : Activation::none;
  a.deterministic = true;
  const ValueType weight{w, {Dim(kOutputs), Dim(kInputs)}, true};
  std::vector<ValueType> in = {{x, {Symbol::tokens, Dim(kInputs)}}, weight};
  if (op == Op::linear_glu) in.push_back(weight);
  return make_signature(op, a.to_attrs(), in);
}

// The output's bytes for tokens [begin, begin + count).
std::vector<std::byte> rows(Backend& cuda, const Tactic& tactic, const OpSignature& s,
                            std::vector<HostTensor> in, int64_t begin, int64_t count, Rng& rng) {
  for (HostTensor& t : in) {
    if (t.type.shape[0] != Dim(Symbol::tokens)) continue;
    const auto row = static_cast<int64_t>(row_bytes(t.type.dtype, t.width()));
    const auto from = t.bytes.begin() + row * begin;
    t.bytes = {from, from + row * count};
    t.shape[0] = count;
    t.values.resize(static_cast<size_t>(count * t.width()));
  }
  TestStep step({"", {0}, {static_cast<int>(count)}}, 10, 0, 0, rng);
  const LaunchResult r = run_tactic(cuda, tactic, s, in, step, false);
  EXPECT_EQ(r.damage, "");
  return r.outputs[0].bytes;
}

using CudaDeterministic = CudaTest;

TEST_F(CudaDeterministic, ALinearRowDoesNotDependOnTheOthers) {
  Rng rng(kSeed);
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const DType w :
         {DType::f16, DType::int8_row, DType::int4_g128, DType::q4_1, DType::f8_row})
      for (const DType x : {DType::f16, DType::f32}) {
        // The reference alone takes these.
        if (x == DType::f32 && (w == DType::f16 || w == DType::f8_row)) continue;
        SCOPED_TRACE(fmt::format("{} {} {} seed {}", name(op), name(x), name(w), kSeed));
        const OpSignature s = signature_of(op, x, w);
        std::vector<HostTensor> in;
        for (const ValueType& t : s.inputs)
          in.push_back(random_tensor(t, 70, 1, Fill::outliers, rng));
        const std::vector<std::byte> all =
            rows(cuda(), *select_tactic(cuda(), s, 70), s, in, 0, 70, rng);
        const size_t width = row_bytes(s.outputs[0].dtype, kOutputs);
        for (const auto& [begin, count] : {std::pair{0, 1}, {5, 3}, {9, 12}, {20, 29}, {69, 1}}) {
          const std::vector<std::byte> some =
              rows(cuda(), *select_tactic(cuda(), s, count), s, in, begin, count, rng);
          ASSERT_EQ(std::memcmp(some.data(), &all[static_cast<size_t>(begin) * width],
                                static_cast<size_t>(count) * width),
                    0)
              << count << " tokens from " << begin;
        }
      }
}

TEST_F(CudaDeterministic, ANormsRowDoesNotDependOnTheOthers) {
  constexpr int kMany = 600;
  Rng rng(kSeed);
  for (const Op op :
       {Op::rms_norm, Op::add_rms_norm, Op::layer_norm, Op::add_layer_norm, Op::softmax})
    for (const int64_t width : {64, 1280, 4096, 8192, 20480}) {  // by a warp, by a block
      SCOPED_TRACE(fmt::format("{} of {} seed {}", name(op), width, kSeed));
      const ValueType x{DType::f16, {Symbol::tokens, Dim(width)}};
      std::vector<ValueType> types(op == Op::add_rms_norm || op == Op::add_layer_norm ? 2 : 1, x);
      if (op != Op::softmax) types.push_back({DType::f16, {Dim(width)}, true});
      const OpSignature s =
          make_signature(op, op == Op::softmax ? Attrs() : Attrs().set("eps", 1e-5), types);
      std::vector<HostTensor> in;
      for (const ValueType& t : s.inputs)
        in.push_back(random_tensor(t, kMany, 1, Fill::gaussian, rng));
      const size_t row = row_bytes(s.outputs[0].dtype, width);
      for (const Tactic* t : cuda().tactics(op)) {
        if (!t->supports(s)) continue;
        const std::vector<std::byte> all = rows(cuda(), *t, s, in, 0, kMany, rng);
        for (const int64_t begin : {0, 333}) {
          const std::vector<std::byte> some = rows(cuda(), *t, s, in, begin, 7, rng);
          ASSERT_EQ(std::memcmp(some.data(), &all[static_cast<size_t>(begin) * row], 7 * row), 0)
              << t->name() << ", tokens from " << begin;
        }
      }
    }
}

}  // namespace
}  // namespace tokamak::test

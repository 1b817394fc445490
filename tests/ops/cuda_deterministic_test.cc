// deterministic linear ops on a CUDA device: a token's result has the same bits alone and among
// others, from the kernels that are chosen for the two numbers of tokens.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "backend/cuda_plugin.h"
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

// The output's bytes for tokens [begin, begin + count), by the kernel that such a step gets.
std::vector<std::byte> rows(Backend& cuda, const OpSignature& s, std::vector<HostTensor> in,
                            int64_t begin, int64_t count, Rng& rng) {
  const size_t row = row_bytes(in[0].type.dtype, kInputs);
  const auto from = in[0].bytes.begin() + static_cast<int64_t>(row) * begin;
  in[0].bytes = {from, from + static_cast<int64_t>(row) * count};
  in[0].shape[0] = count;
  in[0].values.resize(static_cast<size_t>(count * kInputs));
  TestStep step({"", {0}, {static_cast<int>(count)}}, 10, 0, 0, rng);
  const LaunchResult r = run_tactic(cuda, *select_tactic(cuda, s, count), s, in, step, false);
  EXPECT_EQ(r.damage, "");
  return r.outputs[0].bytes;
}

TEST(CudaDeterministic, ALinearRowDoesNotDependOnTheOthers) {
  std::unique_ptr<Backend> cuda;
  try {
    cuda = load_cuda_backend();
  } catch (const Error& e) {
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << e.what();
    GTEST_SKIP() << e.what();
  }
  Rng rng(kSeed);
  for (const Op op : {Op::linear, Op::linear_glu})
    for (const DType w : {DType::f16, DType::int8_row, DType::int4_g128, DType::q4_1})
      for (const DType x : {DType::f16, DType::f32}) {
        if (x == DType::f32 && w == DType::f16) continue;  // the reference alone takes these
        SCOPED_TRACE(fmt::format("{} {} {} seed {}", name(op), name(x), name(w), kSeed));
        const OpSignature s = signature_of(op, x, w);
        std::vector<HostTensor> in;
        for (const ValueType& t : s.inputs)
          in.push_back(random_tensor(t, 70, 1, Fill::outliers, rng));
        const std::vector<std::byte> all = rows(*cuda, s, in, 0, 70, rng);
        const size_t width = row_bytes(s.outputs[0].dtype, kOutputs);
        for (const auto& [begin, count] : {std::pair{0, 1}, {5, 3}, {9, 12}, {20, 29}, {69, 1}}) {
          const std::vector<std::byte> some = rows(*cuda, s, in, begin, count, rng);
          ASSERT_EQ(std::memcmp(some.data(), &all[static_cast<size_t>(begin) * width],
                                static_cast<size_t>(count) * width),
                    0)
              << count << " tokens from " << begin;
        }
      }
}

}  // namespace
}  // namespace tokamak::test

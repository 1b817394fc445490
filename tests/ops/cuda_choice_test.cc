// Which linear kernels a CUDA engine built without tuning gets: few tokens stream the weights, many
// go through cuBLASLt, both from the same packed bytes. Needs the library, no device.
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cuda_plugin.h"
#include "op_table.h"
#include "ops/linear.h"

namespace tokamak::test {
namespace {

// A 7B model's matrices.
constexpr std::pair<int64_t, int64_t> kShapes[] = {
    {12288, 4096}, {4096, 4096}, {4096, 11008}, {32000, 4096}};

OpSignature linear_of(DType x, DType w, int64_t n, int64_t k, bool deterministic) {
  LinearAttrs a;
  a.deterministic = deterministic;
  return make_signature(Op::linear, a.to_attrs(),
                        {{x, {Symbol::tokens, k}}, {w, {Dim(n), Dim(k)}, true}});
}

class CudaChoice : public testing::Test {
 protected:
  void SetUp() override {
    CudaOptions options;
    options.offline = true;
    try {
      cuda_ = load_cuda_backend(options);
    } catch (const Error& e) {
      ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << e.what();
      GTEST_SKIP() << e.what();
    }
  }
  std::string chosen(const OpSignature& s, int64_t tokens) const {
    const Tactic* t = select_tactic(*cuda_, s, tokens);
    return t ? std::string(t->name()) : "";
  }
  std::unique_ptr<Backend> cuda_;
};

// Up to eight tokens by either of two kernels, which read the same bytes; more of 16-bit weights by
// either of two, too.
TEST_F(CudaChoice, FewTokensStream) {
  for (const DType w : {DType::f16, DType::int8_row, DType::int4_g128, DType::q4_0})
    for (const auto& [n, k] : kShapes)
      for (const int64_t tokens : {1, 8, 16, 32, 64}) {
        const std::string tactic = chosen(linear_of(DType::f16, w, n, k, false), tokens);
        EXPECT_TRUE(tactic == "linear.stream" || (tokens <= 8 && tactic == "linear.rows") ||
                    (tokens > 8 && w == DType::f16 && tactic == "linear.strips"))
            << tactic << " for " << name(w) << " " << n << " x " << k << ", " << tokens
            << " tokens";
      }
}

TEST_F(CudaChoice, ManyTokensMultiplyFromTheSameBytes) {
  for (const auto& [n, k] : kShapes) {
    EXPECT_EQ(chosen(linear_of(DType::f16, DType::f16, n, k, false), 2048), "linear.cublaslt.0");
    for (const DType w : {DType::int8_row, DType::int4_g128, DType::q4_1}) {
      const OpSignature s = linear_of(DType::f16, w, n, k, false);
      EXPECT_EQ(chosen(s, 2048), "linear.unpacked.cublaslt") << name(w) << " " << n << " x " << k;
      EXPECT_EQ(select_tactic(*cuda_, s, 1)->weight_layout(s, 1),
                select_tactic(*cuda_, s, 2048)->weight_layout(s, 1));
    }
  }
}

// One kernel for every number of tokens: its results do not depend on it.
TEST_F(CudaChoice, DeterministicLinearIsOneKernel) {
  for (const DType w : {DType::f16, DType::int8_row, DType::int4_g128})
    for (const int64_t tokens : {1, 8, 64, 512})
      EXPECT_EQ(chosen(linear_of(DType::f16, w, 4096, 4096, true), tokens), "linear.stream")
          << name(w) << ", " << tokens << " tokens";
}

}  // namespace
}  // namespace tokamak::test

// Generated kernels: programs of the op table compile for every architecture, which needs
// NVRTC but no device.
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cuda_plugin.h"
#include "op_table.h"
#include "trial.h"

namespace tokamak::test {
namespace {

TEST(CudaChain, ProgramsCompileForEveryArchitecture) {
  for (const int sm : {80, 89, 90, 100}) {
    std::unique_ptr<Backend> backend;
    try {
      backend = load_cuda_backend({.offline = true, .sm = sm});
    } catch (const Error& e) {
      GTEST_SKIP() << e.what();
    }
    const Tactic* tactic = find_tactic(*backend, Op::chain, "chain.compiled");
    ASSERT_NE(tactic, nullptr);
    for (const OpRow& row : op_table()) {
      if (row.op != Op::chain) continue;
      const std::vector<OpSignature> all = row.signatures();
      // On a machine without NVRTC nothing is claimed.
      if (!tactic->supports(all[0])) GTEST_SKIP() << "no NVRTC";
      for (size_t i = 0; i < all.size(); i += sm == 90 ? 7 : 40) {
        const auto code = tactic->compiled_code(all[i]);
        ASSERT_EQ(code.size(), 1u) << all[i].key();
        EXPECT_GT(code[0].bytes.size(), 1000u) << all[i].key();
      }
    }
  }
}

// What an engine file brought is enough, and is what bind() would use.
TEST(CudaChain, CodeMovesBetweenBackends) {
  std::unique_ptr<Backend> a, b;
  try {
    a = load_cuda_backend({.offline = true});
    b = load_cuda_backend({.offline = true});
  } catch (const Error& e) {
    GTEST_SKIP() << e.what();
  }
  const OpSignature s =
      make_signature(Op::chain, Attrs().set("code", "tanh x0; mul t0 x1; out f16 t1"),
                     {{DType::f16, {Symbol::tokens, 64}}, {DType::f16, {64}, true}});
  const Tactic* from = find_tactic(*a, Op::chain, "chain.compiled");
  if (!from->supports(s)) GTEST_SKIP() << "no NVRTC";
  std::vector<CompiledCode> code = from->compiled_code(s);
  code[0].bytes = "marked";
  b->add_code(code);
  const Tactic* to = find_tactic(*b, Op::chain, "chain.compiled");
  EXPECT_EQ(to->compiled_code(s)[0].bytes, "marked");
  EXPECT_NE(from->compiled_code(s)[0].bytes, "marked");
}

}  // namespace
}  // namespace tokamak::test

#include <gtest/gtest.h>

#include <cstdlib>

#include "text/sp_fixtures.h"

namespace tokamak {
namespace {

class SentencePieceFixture : public testing::TestWithParam<const char*> {};

TEST_P(SentencePieceFixture, IdsAndTextEqualTheReference) {
  if (GetParam() == std::string("bpe_nfkc_cf")) GTEST_SKIP() << "only among fresh fixtures";
  const auto r = test::compare_with_fixture(
      std::filesystem::path(TOKAMAK_TEST_DATA) / "text" / "sentencepiece", GetParam());
  EXPECT_GE(r.texts, 80u);
  EXPECT_EQ(r.mismatches, 0u) << r.first;
}

// TOKAMAK_SP_FUZZ=FOLDER: the same over a folder of freshly made fixtures.
TEST_P(SentencePieceFixture, FreshFixtures) {
  const char* folder = std::getenv("TOKAMAK_SP_FUZZ");
  if (!folder) GTEST_SKIP() << "TOKAMAK_SP_FUZZ is not set";
  const auto r = test::compare_with_fixture(folder, GetParam());
  printf("%s: %zu texts, %zu decodes, %zu mismatches\n", GetParam(), r.texts, r.decodes,
         r.mismatches);
  EXPECT_EQ(r.mismatches, 0u) << r.first;
}

INSTANTIATE_TEST_SUITE_P(All, SentencePieceFixture,
                         testing::Values("bpe_bytes_identity", "bpe_rules", "bpe_suffix",
                                         "bpe_unused", "bpe_nfkc_cf", "unigram_nfkc",
                                         "unigram_bytes_identity", "unigram_spaces"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tokamak

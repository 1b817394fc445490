#include "backend/cpu/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/cpu/cpu_backend.h"
#include "base/error_of.h"

namespace tokamak {
namespace {

using test::error_of;
using testing::AllOf;
using testing::HasSubstr;

// Sets TOKAMAK_ISA for one scope.
class ForcedIsa {
 public:
  explicit ForcedIsa(const char* value) {
    const char* old = std::getenv("TOKAMAK_ISA");
    if (old != nullptr) old_ = old;
    setenv("TOKAMAK_ISA", value, 1);
  }
  ~ForcedIsa() { old_.empty() ? unsetenv("TOKAMAK_ISA") : setenv("TOKAMAK_ISA", old_.c_str(), 1); }

 private:
  std::string old_;
};

TEST(Isa, NamesRoundTrip) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(parse_isa(name(isa)), isa);
  }
  EXPECT_THAT(error_of([] { parse_isa("sse9"); }),
              AllOf(HasSubstr("'sse9'"), HasSubstr("reference, avx2, avx512, avx512_vnni, amx")));
}

TEST(Isa, EachLevelIncludesTheLowerOnes) {
  const IsaReport& r = isa_report();
  EXPECT_TRUE(r.has(Isa::reference));
  for (int i = 1; i < kIsaCount; ++i)
    EXPECT_LE(r.has(static_cast<Isa>(i)), r.has(static_cast<Isa>(i - 1))) << i;
  EXPECT_LE(r.has(Isa::amx), r.avx512_bf16());
  EXPECT_TRUE(r.has(r.best()));
  std::printf("levels: %s; bf16: %s\n", r.levels().c_str(),
              r.avx512_bf16() ? "yes" : r.avx512_bf16_missing.c_str());
}

TEST(Isa, EveryLevelCanBeForcedOrFailsLoudly) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    const std::string level(name(isa));
    const ForcedIsa forced(level.c_str());
    if (isa_report().has(isa)) {
      EXPECT_EQ(make_cpu_backend({1})->properties().isa, level);
    } else {
      EXPECT_THAT(error_of([] { make_cpu_backend({1}); }),
                  AllOf(HasSubstr("TOKAMAK_ISA=" + level),
                        HasSubstr(isa_report().missing[static_cast<size_t>(i)]),
                        HasSubstr(isa_report().levels())));
    }
  }
}

TEST(Isa, AnOptionWinsOverTheEnvironment) {
  const ForcedIsa forced("no such level");
  EXPECT_EQ(make_cpu_backend({1, "reference"})->properties().isa, "reference");
  EXPECT_THAT(error_of([] { make_cpu_backend({1}); }), HasSubstr("no such level"));
}

TEST(CpuBackend, RefusesAbsurdWorkerCounts) {
  EXPECT_THAT(error_of([] { make_cpu_backend({-1}); }), HasSubstr("found -1"));
  EXPECT_THAT(error_of([] { make_cpu_backend({100000}); }), HasSubstr("found 100000"));
}

}  // namespace
}  // namespace tokamak

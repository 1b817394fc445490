#include "compile/timing_cache.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "formats/temp_dir.h"

namespace tokamak {
namespace {

TEST(TimingCache, KeepsWhatWasMeasured) {
  const TempDir dir;
  TimingCache cache, read;
  cache.put("cpu", "linear", 128, {{{"rows16", 1.5}, {"plain", 9}}, 0.02});
  cache.save(dir / "timing.cache");
  read.load(dir / "timing.cache");
  EXPECT_EQ(read.entries(), 1u);
  ASSERT_NE(read.find("cpu", "linear", 128), nullptr);
  EXPECT_EQ(*read.find("cpu", "linear", 128), *cache.find("cpu", "linear", 128));
  EXPECT_EQ(read.find("cpu", "linear", 1), nullptr);
}

TEST(TimingCache, IgnoresADamagedFileWhole) {
  const TempDir dir;
  for (
      const char* text :
      {"", "[]", R"({"version":1,"devices":{}})", R"({"version":2,"devices":[[{"1":{"t":2}}]]})",
       R"({"version":2,"devices":{"cpu":{"linear":{"1":5}}}})",
       R"({"version":2,"devices":{"cpu":{"linear":{"1":{"us":{"t":1}}}}}})",
       R"({"version":2,"devices":{"cpu":{"linear":{"1":{"us":{"t":1},"noise":-1}}}}})",
       R"({"version":2,"devices":{"cpu":{"linear":{"1":{"us":{"t":1},"noise":0},"x":{"us":{"t":1},"noise":0}}}}})",
       R"({"version":2,"devices":{"cpu":{"linear":{"1":{"us":{"t":-1},"noise":0}}}}})"}) {
    TimingCache cache;
    cache.load(dir.write("timing.cache", text));
    EXPECT_EQ(cache.entries(), 0u) << text;
  }
}

}  // namespace
}  // namespace tokamak

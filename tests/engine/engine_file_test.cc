#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error_of.h"
#include "engine/engine_config.h"
#include "engine/tiny_plan.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string slurp(const fs::path& path) { return read_text(path); }

void spill(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), bytes.size());
}

std::string error_of(const fs::path& path) {
  return test::error_of([&] { EngineFile::open(path); });
}

class EngineFileTest : public ::testing::Test {
 protected:
  EngineFileTest() {
    char name[] = "/tmp/tokamak-engine-XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = folder_ / "rank0.engine";
    plan_ = testing::tiny_plan();
    EngineWriter writer(path_, plan_);
    for (size_t i = 0; i < plan_.weights.size(); ++i)
      std::memset(writer.weight(i).data(), static_cast<int>(i + 1), plan_.weights[i].bytes);
    writer.commit();
  }
  ~EngineFileTest() override { fs::remove_all(folder_); }

  fs::path folder_, path_;
  Plan plan_;
};

TEST_F(EngineFileTest, RoundTrip) {
  const EngineFile engine = EngineFile::open(path_);
  EXPECT_EQ(engine.plan().to_json(), plan_.to_json());
  for (size_t i = 0; i < plan_.weights.size(); ++i)
    for (const std::byte b : engine.weight(i)) ASSERT_EQ(b, static_cast<std::byte>(i + 1));
  EXPECT_EQ(engine.weights_offset() % kPageBytes, 0u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "a temporary file stayed";
}

TEST_F(EngineFileTest, CompiledCodeIsKeptByteForByte) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  plan_.code = {{"chain sm_90 01", all}, {"chain sm_90 02", ""}};
  EXPECT_EQ(Plan::from_json(plan_.to_json()).code, plan_.code);
  Json damaged = plan_.to_json();
  damaged["code"]["chain sm_90 01"] = "0g";
  EXPECT_THROW(Plan::from_json(damaged), Error);
  damaged["code"]["chain sm_90 01"] = "0";
  EXPECT_THROW(Plan::from_json(damaged), Error);
}

TEST_F(EngineFileTest, EveryTruncationIsOneError) {
  const std::string whole = slurp(path_);
  for (size_t n = 0; n < whole.size(); n += n < 4200 ? 1 : 7) {
    spill(folder_ / "cut", std::string_view(whole).substr(0, n));
    const std::string error = error_of(folder_ / "cut");
    ASSERT_THAT(error, HasSubstr("cut")) << n << " bytes";
    ASSERT_EQ(error.find('\n'), std::string::npos);
  }
  spill(folder_ / "cut", whole + "x");
  EXPECT_THAT(error_of(folder_ / "cut"), HasSubstr("header says"));
}

TEST_F(EngineFileTest, EveryFlippedBitOfHeaderAndPlanIsOneError) {
  std::string bytes = slurp(path_);
  const size_t end = 64 + plan_.to_json().dump().size();
  for (size_t i = 0; i < end; ++i) {
    const char bit = static_cast<char>(1 << (i % 8));
    bytes[i] ^= bit;
    spill(folder_ / "flip", bytes);
    ASSERT_THAT(error_of(folder_ / "flip"), HasSubstr("flip")) << "byte " << i;
    bytes[i] ^= bit;
  }
}

TEST_F(EngineFileTest, AnotherVersionSaysWhatToDo) {
  std::string bytes = slurp(path_);
  bytes[8] = 0;
  spill(path_, bytes);
  EXPECT_THAT(error_of(path_), HasSubstr("engine format version 0"));
  EXPECT_THAT(error_of(path_), HasSubstr("build it again"));
}

TEST_F(EngineFileTest, UncommittedWriterLeavesNothing) {
  { EngineWriter writer(folder_ / "other.engine", plan_); }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

// What gets past the checksum must still be refused or harmless: any field, any type, any value.
TEST(PlanJson, MutationsNeverPassBadIndices) {
  std::mt19937 random(20261121);
  const Json good = testing::tiny_plan().to_json();
  const std::vector<Json> odd = {-1,
                                 0,
                                 1,
                                 3,
                                 7,
                                 1 << 20,
                                 int64_t{1} << 62,
                                 -1.5,
                                 "tokens",
                                 "view",
                                 "f32",
                                 "q4_1",
                                 "linear",
                                 nullptr,
                                 true,
                                 Json::array(),
                                 Json::object(),
                                 Json::array({1, 2})};
  std::vector<Json::json_pointer> places;
  const Json flat = good.flatten();
  for (const auto& [place, value] : flat.items()) places.emplace_back(place);
  int refused = 0, accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    Json j = good;
    const int edits = 1 + static_cast<int>(random() % 3);
    try {
      for (int e = 0; e < edits; ++e)
        j.at(places[random() % places.size()]) = odd[random() % odd.size()];
      const Plan plan = Plan::from_json(j);
      plan_memory(plan, 64, 4);
      ++accepted;
    } catch (const Error&) {
      ++refused;
    } catch (const Json::exception&) {  // the edit itself lost its place
    }
  }
  EXPECT_GT(refused, 10000);
  EXPECT_GT(accepted, 100);  // names, times
}

TEST(PlanJson, WrongShapeIsNamed) {
  Plan plan = testing::tiny_plan();
  plan.values[plan.logits].type.shape[1] = 13;
  try {
    Plan::from_json(plan.to_json());
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("step 'linear'"));
  }
}

TEST(EngineConfig, RoundTripAndLimits) {
  EngineConfig c;
  c.version = "1.2.3";
  c.pretrained = {{"architecture", "X"}};
  c.limits.max_num_tokens = 77;
  c.kv_cache_dtype = DType::bf16;
  const EngineConfig back = EngineConfig::from_json(c.to_json(), "config.json");
  EXPECT_EQ(back.to_json(), c.to_json());
  Json bad = c.to_json();
  bad["build_config"]["max_batch_size"] = 0;
  EXPECT_THROW(EngineConfig::from_json(bad, "config.json"), Error);
  bad["build_config"].erase("max_batch_size");
  EXPECT_THROW(EngineConfig::from_json(bad, "config.json"), Error);
}

}  // namespace
}  // namespace tokamak

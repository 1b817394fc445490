// Tests of the executor over a tiny model of random weights.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "runtime/session.h"
#include "runtime/tiny_model.h"
#include "tokamak/executor.h"

namespace tokamak::testing {

class TinyExecutorTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    backend_ = make_backend("cpu", 1);
    folder_ = std::make_unique<TempDir>();
  }
  static void TearDownTestSuite() {
    folder_.reset();
    backend_.reset();
  }
  static const std::filesystem::path& engine(const std::string& kv_dtype = "float32") {
    std::filesystem::path& path = engines_[kv_dtype];
    if (!std::filesystem::exists(path)) {
      BuildOptions o;
      o.tuning = false;
      o.deterministic = true;
      o.kv_cache_dtype = kv_dtype;
      path = build_tiny(folder_->path(), *backend_, o, DType::f32, "engine-" + kv_dtype);
    }
    return path;
  }
  static SessionOptions session_options(int64_t kv_tokens, int32_t block_size = 8) {
    SessionOptions o;
    o.kv_tokens = kv_tokens;
    o.kv_block_size = block_size;
    o.deterministic = true;
    return o;
  }
  // The request alone: nothing shared, nothing in its way.
  static ExecutorResult alone(Session& session, const ExecutorRequest& r) {
    ExecutorOptions o;
    o.enable_block_reuse = false;
    o.max_batch_size = 16;
    Executor executor(session, o);
    return executor.await(executor.enqueue(r));
  }
  static std::vector<std::vector<int32_t>> tokens_of(const ExecutorResult& r) {
    std::vector<std::vector<int32_t>> all{r.tokens};
    for (const ExecutorOutput& o : r.others) all.push_back(o.tokens);
    return all;
  }

  static inline std::unique_ptr<TempDir> folder_;
  static inline std::unique_ptr<Backend> backend_;
  static inline std::map<std::string, std::filesystem::path> engines_;
};

}  // namespace tokamak::testing

// A server in this process: a tiny model of random weights behind a real tokenizer of 300 bytes and
// pieces, on a port of its own.
#pragma once
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "runtime/tiny_model.h"
#include "serve/load_client.h"
#include "serve/server.h"

namespace tokamak::serve {

class TinyModel {
 public:
  explicit TinyModel(bool with_tokenizer, bool elsewhere = false) {
    auto backend = make_backend("cpu", 2);
    BuildOptions options;
    options.tuning = false;
    options.deterministic = true;  // equal answers, whatever else runs
    engine_ = testing::build_tiny(folder_.path(), *backend, options);
    if (!with_tokenizer) return;
    if (elsewhere) std::filesystem::create_directory(texts_ = folder_.path() / "texts");
    const auto& texts = elsewhere ? texts_ : engine_;
    const Json fixture = load_json(TOKAMAK_TEST_DATA "/text/tokenizers/bpe_o200k.json");
    std::ofstream(texts / "tokenizer.json") << fixture.at("tokenizers").at(0).at("tokenizer");
    std::ofstream(texts / "chat_template.jinja")
        << "{% for m in messages %}{% if m.role == 'villain' %}{{ raise_exception('no villains') }}"
           "{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
  }
  std::unique_ptr<LLM> open(int64_t max_lora_rank) const {
    LLMOptions o;
    o.max_lora_rank = max_lora_rank;
    o.workers = 2;
    o.tokenizer_dir = texts_;
    o.deterministic = true;
    return std::make_unique<LLM>(engine_, o);
  }

 private:
  testing::TempDir folder_;
  std::filesystem::path engine_, texts_;  // texts_: of tokenizer and template, if not the engine's
};

struct TinyServer {
  explicit TinyServer(const TinyModel& model, ServeOptions o = {}, int64_t max_lora_rank = 0)
      : llm(model.open(max_lora_rank)) {
    o.port = 0;
    o.log_requests = false;
    o.served_model_name = "tiny";
    server = std::make_unique<Server>(*llm, "tiny", o);
    target = {"127.0.0.1", std::to_string(server->port()), ""};
  }
  TimedAnswer get(const std::string& path, const std::string& key = {}) const {
    return ask(target, "GET", path, {}, key, 60);
  }
  TimedAnswer post(const std::string& path, const std::string& body,
                   const std::string& key = {}) const {
    return ask(target, "POST", path, body, key, 60);
  }
  TimedAnswer post(const std::string& path, const Json& body) const {
    return post(path, body.dump());
  }
  // The answer's body; a test that fails shows it.
  Json ok(const std::string& path, const Json& body) const {
    const TimedAnswer a = post(path, body);
    EXPECT_EQ(a.status, 200) << a.body << a.error;
    return a.status == 200 ? Json::parse(a.body) : Json();
  }
  // Chunks of a stream, without [DONE], which must be there.
  std::vector<Json> stream(const std::string& path, Json body) const {
    body["stream"] = true;
    const TimedAnswer a = post(path, body);
    EXPECT_EQ(a.status, 200) << a.body << a.error;
    std::vector<Json> chunks;
    for (size_t i = 0; i + 1 < a.events.size(); ++i)
      chunks.push_back(Json::parse(a.events[i].data));
    EXPECT_EQ(a.events.empty() ? "" : a.events.back().data, "[DONE]");
    return chunks;
  }

  std::unique_ptr<LLM> llm;
  std::unique_ptr<Server> server;
  Target target;
};

// One server for all tests of a suite.
class TinyServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = std::make_unique<TinyModel>(true);
    tiny_ = std::make_unique<TinyServer>(*model_);
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(tiny_->server->stats().kv_blocks_used, 0) << "blocks are lost";
    tiny_.reset();
    model_.reset();
  }
  static inline std::unique_ptr<TinyModel> model_;
  static inline std::unique_ptr<TinyServer> tiny_;
};

}  // namespace tokamak::serve

// Adapters behind HTTP: clients name them as models.
#include <gtest/gtest.h>

#include "runtime/tiny_adapter.h"
#include "serve/tiny_server.h"

namespace tokamak::serve {
namespace {

class LoraServer : public ::testing::Test {
 protected:
  LoraServer() : model_(true) {
    for (uint32_t seed : {1, 2})
      paths_.push_back(
          testing::write_tiny_adapter(folder_.path() / fmt::format("lora{}", seed), seed).string());
  }
  ServeOptions options() const {
    ServeOptions o;
    o.lora_modules = {{"first", paths_[0]}};
    o.allow_lora_updates = true;
    return o;
  }
  static Json body(const std::string& model) {
    return {{"model", model}, {"prompt", {1, 2, 3, 4}}, {"max_tokens", 8}, {"temperature", 0}};
  }
  static std::vector<std::string> models(const TinyServer& server) {
    std::vector<std::string> names;
    const Json list = Json::parse(server.get("/v1/models").body);
    for (const Json& m : list.at("data")) names.push_back(m.at("id"));
    return names;
  }
  TinyModel model_;
  testing::TempDir folder_;
  std::vector<std::string> paths_;
};

TEST_F(LoraServer, ModelNamesChoose) {
  TinyServer server(model_, options(), 8);
  EXPECT_EQ(models(server), (std::vector<std::string>{"tiny", "first"}));
  const Json base = server.ok("/v1/completions", body("tiny"));
  const Json first = server.ok("/v1/completions", body("first"));
  EXPECT_EQ(base.at("model"), "tiny");
  EXPECT_EQ(first.at("model"), "first");
  EXPECT_NE(base.at("choices")[0].at("text"), first.at("choices")[0].at("text"));
  EXPECT_EQ(server.post("/v1/completions", body("second")).status, 404);
  EXPECT_EQ(server.get("/v1/models/first").status, 200);
  EXPECT_EQ(server.get("/v1/models/second").status, 404);
  const Json chat = {
      {"model", "first"}, {"max_tokens", 2}, {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  EXPECT_EQ(server.ok("/v1/chat/completions", chat).at("model"), "first");
  EXPECT_EQ(server.ok("/v1/messages", chat).at("model"), "first");
}

TEST_F(LoraServer, EmbeddingsAreTheAdaptersOwn) {
  TinyServer server(model_, options(), 8);
  const auto embedding = [&](const char* model) {
    const Json a = server.ok("/v1/embeddings", {{"model", model}, {"input", {1, 2, 3}}});
    EXPECT_EQ(a.at("model"), model);
    return a.at("data")[0].at("embedding");
  };
  EXPECT_NE(embedding("tiny"), embedding("first"));
  EXPECT_EQ(embedding("first"), embedding("first"));
}

TEST_F(LoraServer, AdaptersAreLoadedAndUnloaded) {
  TinyServer server(model_, options(), 8);
  const Json load = {{"lora_name", "second"}, {"lora_path", paths_[1]}};
  EXPECT_EQ(server.post("/v1/load_lora_adapter", load).status, 200);
  EXPECT_EQ(server.post("/v1/load_lora_adapter", load).status, 400);  // the name is taken
  const std::string before =
      server.ok("/v1/completions", body("second")).at("choices")[0].at("text");
  Json replace = load;
  replace["lora_path"] = paths_[0];
  replace["load_inplace"] = true;
  EXPECT_EQ(server.post("/v1/load_lora_adapter", replace).status, 200);
  EXPECT_NE(server.ok("/v1/completions", body("second")).at("choices")[0].at("text"), before);
  EXPECT_EQ(server.ok("/v1/completions", body("second")).at("choices"),
            server.ok("/v1/completions", body("first")).at("choices"));
  EXPECT_EQ(server.post("/v1/unload_lora_adapter", Json{{"lora_name", "second"}}).status, 200);
  EXPECT_EQ(server.post("/v1/unload_lora_adapter", Json{{"lora_name", "second"}}).status, 404);
  EXPECT_EQ(server.post("/v1/completions", body("second")).status, 404);
  EXPECT_EQ(models(server), (std::vector<std::string>{"tiny", "first"}));
  const Json wrong = {{"lora_name", "third"}, {"lora_path", "/nowhere"}};
  EXPECT_EQ(server.post("/v1/load_lora_adapter", wrong).status, 400);
  EXPECT_EQ(server.post("/v1/load_lora_adapter", Json{{"lora_name", 3}}).status, 400);
}

TEST_F(LoraServer, RefusesWhereTheOperatorDoesNotAllowIt) {
  ServeOptions o = options();
  o.allow_lora_updates = false;
  TinyServer server(model_, o, 8);
  const Json load = {{"lora_name", "second"}, {"lora_path", paths_[1]}};
  EXPECT_EQ(server.post("/v1/load_lora_adapter", load).status, 403);
  EXPECT_EQ(server.post("/v1/unload_lora_adapter", Json{{"lora_name", "first"}}).status, 403);
}

TEST_F(LoraServer, RefusesToStartWithAnAdapterThatDoesNotFit) {
  EXPECT_THROW(TinyServer(model_, options(), 2), Error);  // rank 4
  EXPECT_THROW(TinyServer(model_, options(), 0), Error);
}

}  // namespace
}  // namespace tokamak::serve

// The endpoints as clients see them, over real connections.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "serve/kserve_tensors.h"
#include "serve/tiny_server.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

using ::testing::HasSubstr;

class EndpointsTest : public TinyServerTest {
 protected:
  static Json prompt(const std::string& text, int64_t tokens) {
    return {{"prompt", text}, {"max_tokens", tokens}, {"temperature", 0}, {"ignore_eos", true}};
  }
  static std::string joined(const std::vector<Json>& chunks, size_t index = 0) {
    std::string text;
    for (const Json& c : chunks)
      for (const Json& choice : c.at("choices")) {
        if (choice.at("index") != index) continue;
        if (choice.contains("text"))
          text += choice["text"].get<std::string>();
        else
          text += choice["delta"].value("content", "");
      }
    return text;
  }
};

TEST_F(EndpointsTest, CompletionsAreTheModelsOwnWords) {
  const Json a = tiny_->ok("/v1/completions", prompt("hello there", 20));
  EXPECT_EQ(a["object"], "text_completion");
  EXPECT_EQ(a["model"], "tiny");
  EXPECT_EQ(a["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(a["usage"]["completion_tokens"], 20);
  const auto ids = tiny_->llm->tokenizer().encode("hello there");
  EXPECT_EQ(a["usage"]["prompt_tokens"], ids.size());
  Json by_ids = prompt("", 20);
  by_ids["prompt"] = ids;
  by_ids["return_token_ids"] = true;
  const Json b = tiny_->ok("/v1/completions", by_ids);
  EXPECT_EQ(a["choices"][0]["text"], b["choices"][0]["text"]);
  const auto out = b["choices"][0]["token_ids"].get<std::vector<int32_t>>();
  ASSERT_EQ(out.size(), 20u);
  EXPECT_EQ(tiny_->llm->tokenizer().decode(out, true), a["choices"][0]["text"]);
}

TEST_F(EndpointsTest, StreamsSayTheSameAsWholeAnswers) {
  for (int seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    Json body = prompt("the number " + std::to_string(seed), 48);
    body["temperature"] = 1;
    body["seed"] = seed;
    const Json whole = tiny_->ok("/v1/completions", body);
    body["stream_options"] = {{"include_usage", true}};
    const auto chunks = tiny_->stream("/v1/completions", body);
    EXPECT_EQ(joined(chunks), whole["choices"][0]["text"]);
    EXPECT_EQ(chunks.back()["usage"], whole["usage"]);
    EXPECT_TRUE(chunks.back()["choices"].empty());
    EXPECT_EQ(chunks[chunks.size() - 2]["choices"][0]["finish_reason"], "length");
    Json chat = body;
    chat.erase("prompt");
    chat["messages"] = {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "hi"}}}}}};
    const auto deltas = tiny_->stream("/v1/chat/completions", chat);
    EXPECT_EQ(deltas[0]["choices"][0]["delta"]["role"], "assistant");
    chat.erase("stream_options");
    const Json said = tiny_->ok("/v1/chat/completions", chat);
    EXPECT_EQ(joined(deltas), said["choices"][0]["message"]["content"]);
  }
}

TEST_F(EndpointsTest, ManyAtOnceGetWhatTheyGetAlone) {
  std::vector<Json> alone;
  for (int i = 0; i < 24; ++i)
    alone.push_back(tiny_->ok("/v1/completions", prompt(std::string(1 + i, 'a' + i % 26), 30)));
  std::vector<std::string> together(alone.size());
  {
    std::vector<std::jthread> clients;
    for (size_t i = 0; i < alone.size(); ++i)
      clients.emplace_back([&, i] {
        together[i] = joined(tiny_->stream(
            "/v1/completions", prompt(std::string(1 + i, static_cast<char>('a' + i % 26)), 30)));
      });
  }
  for (size_t i = 0; i < alone.size(); ++i)
    EXPECT_EQ(together[i], alone[i]["choices"][0]["text"]) << i;
}

TEST_F(EndpointsTest, StopStringsEndTheTextBeforeThem) {
  const std::string all = tiny_->ok("/v1/completions", prompt("stop", 60))["choices"][0]["text"];
  int found = 0;
  for (size_t at = 4; at + 3 <= all.size() && found < 8; at += 5) {
    const std::string stop = all.substr(at, 3);
    if (static_cast<unsigned char>(stop[0]) >= 0x80 ||
        static_cast<unsigned char>(stop[1]) >= 0x80 || static_cast<unsigned char>(stop[2]) >= 0x80)
      continue;
    ++found;
    Json body = prompt("stop", 60);
    body["stop"] = {"never seen", stop};
    const Json a = tiny_->ok("/v1/completions", body);
    EXPECT_EQ(a["choices"][0]["text"], all.substr(0, all.find(stop)));
    EXPECT_EQ(a["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(joined(tiny_->stream("/v1/completions", body)), all.substr(0, all.find(stop)));
  }
  EXPECT_GT(found, 0);
}

TEST_F(EndpointsTest, SeveralOutputsOfOnePrompt) {
  Json body = prompt("choose", 12);
  body["temperature"] = 1;
  body["seed"] = 5;
  const Json one = tiny_->ok("/v1/completions", body);
  body["n"] = 4;
  const Json four = tiny_->ok("/v1/completions", body);
  ASSERT_EQ(four["choices"].size(), 4u);
  EXPECT_EQ(four["choices"][0]["text"], one["choices"][0]["text"]);
  EXPECT_NE(four["choices"][1]["text"], one["choices"][0]["text"]);
  EXPECT_EQ(four["usage"]["completion_tokens"], 48);
  const auto chunks = tiny_->stream("/v1/completions", body);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(joined(chunks, i), four["choices"][i]["text"]);
  body["prompt"] = {"choose", "again"};
  body["n"] = 2;
  const Json two = tiny_->ok("/v1/completions", body);
  ASSERT_EQ(two["choices"].size(), 4u);
  EXPECT_EQ(two["choices"][1]["text"], four["choices"][1]["text"]);
}

TEST_F(EndpointsTest, EchoPutsThePromptInFront) {
  Json body = prompt("back to you", 5);
  const std::string said = tiny_->ok("/v1/completions", body)["choices"][0]["text"];
  body["echo"] = true;
  EXPECT_EQ(tiny_->ok("/v1/completions", body)["choices"][0]["text"], "back to you" + said);
  EXPECT_EQ(joined(tiny_->stream("/v1/completions", body)), "back to you" + said);
  body["max_tokens"] = 0;
  EXPECT_EQ(tiny_->ok("/v1/completions", body)["choices"][0]["text"], "back to you");
}

TEST_F(EndpointsTest, LogProbabilitiesInBothForms) {
  Json body = prompt("how sure", 6);
  body["logprobs"] = 3;
  const Json l = tiny_->ok("/v1/completions", body)["choices"][0]["logprobs"];
  ASSERT_EQ(l["tokens"].size(), 6u);
  EXPECT_EQ(l["text_offset"][0], 0);
  for (size_t i = 0; i < 6; ++i) {
    const double chosen = l["token_logprobs"][i];
    EXPECT_LE(chosen, 0);
    for (const auto& [token, logprob] : l["top_logprobs"][i].items())
      EXPECT_LE(logprob.get<double>(), chosen + 1e-6) << "greedy takes the best";
  }
  Json chat = {{"messages", {{{"role", "user"}, {"content", "how sure"}}}},
               {"max_completion_tokens", 6},
               {"temperature", 0},
               {"logprobs", true},
               {"top_logprobs", 2},
               {"ignore_eos", true}};
  const Json whole = tiny_->ok("/v1/chat/completions", chat)["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(whole.size(), 6u);
  EXPECT_EQ(whole[0]["top_logprobs"].size(), 2u);
  EXPECT_EQ(whole[0]["top_logprobs"][0]["token"], whole[0]["token"]);
  Json streamed = Json::array();
  for (const Json& c : tiny_->stream("/v1/chat/completions", chat))
    if (c["choices"][0]["logprobs"].is_object())
      for (const Json& t : c["choices"][0]["logprobs"]["content"]) streamed.push_back(t);
  EXPECT_EQ(streamed, whole);
}

TEST_F(EndpointsTest, LogProbabilitiesOfThePrompt) {
  const auto ids = tiny_->llm->tokenizer().encode("what was that, and who said it?");
  Json body = {
      {"prompt", ids}, {"max_tokens", 1}, {"temperature", 0}, {"logprobs", 1}, {"echo", true}};
  const Json l = tiny_->ok("/v1/completions", body)["choices"][0]["logprobs"];
  ASSERT_EQ(l["token_logprobs"].size(), ids.size() + 1);
  EXPECT_TRUE(l["token_logprobs"][0].is_null());
  // Each token of the prompt as an output of the tokens before it.
  for (size_t i = 1; i < ids.size(); ++i) {
    Json one = {{"prompt", std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<long>(i))},
                {"max_tokens", 1},
                {"temperature", 0},
                {"logprobs", 1},
                {"logit_bias", {{std::to_string(ids[i]), 100}}}};
    const Json o = tiny_->ok("/v1/completions", one)["choices"][0]["logprobs"];
    EXPECT_NEAR(l["token_logprobs"][i], o["token_logprobs"][0], 1e-4) << i;
  }
  Json none = body;
  none["max_tokens"] = 0;
  const Json a = tiny_->ok("/v1/completions", none)["choices"][0];
  EXPECT_EQ(a["logprobs"]["token_logprobs"].size(), ids.size());
  EXPECT_EQ(a["text"], "what was that, and who said it?");
  body["prompt"] = std::string(700, 'x');  // in several chunks
  const Json b = tiny_->ok("/v1/completions", body);
  EXPECT_EQ(b["choices"][0]["logprobs"]["tokens"].size(),
            b["usage"]["prompt_tokens"].get<size_t>() + 1);
}

TEST_F(EndpointsTest, KnownPromptsAreCounted) {
  const Json body = prompt(std::string(300, 'k') + " again", 2);
  tiny_->ok("/v1/completions", body);
  const Json usage = tiny_->ok("/v1/completions", body)["usage"];
  EXPECT_GT(usage["prompt_tokens_details"]["cached_tokens"], 0);
}

TEST_F(EndpointsTest, ErrorsNameTheField) {
  struct Case {
    const char* path;
    Json change;
    int status;
    const char *param, *says;
  };
  const std::string completions = "/v1/completions", chat = "/v1/chat/completions";
  const std::vector<Case> cases = {
      {"/v1/completions", {{"temperature", "hot"}}, 400, "temperature", "expected a number"},
      {"/v1/completions", {{"temperature", -1}}, 400, "temperature", "-1"},
      {"/v1/completions", {{"top_p", 1.5}}, 400, "top_p", "between 0 and 1"},
      {"/v1/completions", {{"top_k", 1.5}}, 400, "top_k", "an integer"},
      {"/v1/completions", {{"n", 0}}, 400, "n", "between 1 and"},
      {"/v1/completions", {{"best_of", 3}, {"n", 5}}, 400, "best_of", "found 3"},
      {"/v1/completions", {{"max_tokens", 5000}}, 400, "max_tokens", "context is"},
      {"/v1/completions", {{"max_tokens", -3}}, 400, "max_tokens", "found -3"},
      {"/v1/completions", {{"min_tokens", 9}}, 400, "", "min_tokens is 9"},
      {"/v1/completions", {{"stop", {1, 2}}}, 400, "stop", "array of strings"},
      {"/v1/completions", {{"stop", ""}}, 400, "stop", "1 to"},
      {"/v1/completions", {{"logit_bias", {{"900", 1}}}}, 400, "logit_bias", "0 to 319"},
      {"/v1/completions", {{"logit_bias", {{"9", 1000}}}}, 400, "logit_bias", "-100 to 100"},
      {"/v1/completions", {{"prompt", nullptr}}, 400, "prompt", "missing"},
      {"/v1/completions", {{"prompt", {5, 320}}}, 400, "prompt", "found 320"},
      {"/v1/completions", {{"prompt", ""}}, 400, "prompt", "empty"},
      {"/v1/completions", {{"prompt", 7}}, 400, "prompt", "found 7"},
      {"/v1/completions", {{"stream", "yes"}}, 400, "stream", "true or false"},
      {"/v1/completions",
       {{"stream_options", {{"include_usage", true}}}},
       400,
       "stream_options",
       "stream"},
      {"/v1/completions", {{"suffix", "end"}}, 400, "suffix", "not supported"},
      {"/v1/completions", {{"model", "gpt-4"}}, 404, "model", "'gpt-4'"},
      {"/v1/chat/completions", {{"messages", "hi"}}, 400, "messages", "array"},
      {"/v1/chat/completions",
       {{"messages", {{{"content", "x"}}}}},
       400,
       "messages[0].role",
       "missing"},
      {"/v1/chat/completions",
       {{"messages", {{{"role", "villain"}, {"content", "x"}}}}},
       400,
       "messages",
       "no villains"},
      {"/v1/chat/completions", {{"top_logprobs", 2}}, 400, "top_logprobs", "logprobs"},
      {"/v1/chat/completions",
       {{"tools", {{{"type", "function"}}}}},
       400,
       "tools[0].function",
       "an object"},
      {"/v1/chat/completions",
       {{"response_format", {{"type", "yaml"}}}},
       400,
       "response_format.type",
       "json_schema"},
      {"/tokenize", {{"prompt", 5}}, 400, "prompt", "a string"},
      {"/detokenize", {{"tokens", {5000}}}, 400, "tokens", "found 5000"},
  };
  for (const Case& c : cases) {
    Json body = {{"max_tokens", 3}, {"temperature", 0}};
    if (c.path == chat)
      body["messages"] = {{{"role", "user"}, {"content", "x"}}};
    else if (c.path == completions)
      body["prompt"] = "x";
    body.update(c.change);
    const TimedAnswer a = tiny_->post(c.path, body);
    EXPECT_EQ(a.status, c.status) << body << a.body;
    const Json e = Json::parse(a.body)["error"];
    EXPECT_THAT(e.value("message", ""), HasSubstr(c.says)) << body;
    EXPECT_EQ(e["param"].is_null() ? "" : e["param"].get<std::string>(), c.param) << body;
  }
  EXPECT_EQ(tiny_->get("/nowhere").status, 404);
  EXPECT_EQ(tiny_->get("/v1/completions").status, 405);
  EXPECT_THAT(tiny_->get("/v1/completions").head, HasSubstr("allow: post"));
  EXPECT_EQ(tiny_->post("/v1/completions", std::string("{\"prompt\": ")).status, 400);
}

TEST_F(EndpointsTest, SmallEndpoints) {
  EXPECT_EQ(tiny_->get("/health").status, 200);
  EXPECT_EQ(tiny_->get("/version").status, 200);
  EXPECT_EQ(Json::parse(tiny_->get("/v1/models").body)["data"][0]["id"], "tiny");
  EXPECT_EQ(tiny_->get("/v1/models/tiny").status, 200);
  EXPECT_EQ(tiny_->get("/v1/models/other").status, 404);
  const Json t = tiny_->ok("/tokenize", {{"prompt", "hello there"}});
  EXPECT_EQ(t["count"], t["tokens"].size());
  EXPECT_EQ(tiny_->ok("/detokenize", {{"tokens", t["tokens"]}})["prompt"], "hello there");
  EXPECT_THAT(tiny_->get("/health").head, HasSubstr("x-request-id: req-"));
}

TEST_F(EndpointsTest, MetricsCountWhatWasDone) {
  const ExecutorStats before = tiny_->server->stats();
  tiny_->ok("/v1/completions", prompt("count me", 9));
  const std::string text = tiny_->get("/metrics").body;
  EXPECT_THAT(text, HasSubstr("tokamak:num_requests_running{model_name=\"tiny\"} 0"));
  EXPECT_THAT(text, HasSubstr("# TYPE tokamak:time_to_first_token_seconds histogram"));
  EXPECT_THAT(text, HasSubstr("tokamak:time_to_first_token_seconds_bucket{model_name=\"tiny\","
                              "le=\"+Inf\"}"));
  EXPECT_THAT(text,
              HasSubstr(fmt::format("tokamak:generation_tokens_total{{model_name=\"tiny\"}} {}",
                                    before.generated_tokens + 9)));
  EXPECT_THAT(text, HasSubstr("finished_reason=\"length\""));
}

TEST_F(EndpointsTest, AnthropicsMessages) {
  Json body = {{"model", "tiny"},
               {"max_tokens", 12},
               {"temperature", 0},
               {"system", "be kind"},
               {"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  const Json whole = tiny_->ok("/v1/messages", body);
  EXPECT_EQ(whole["type"], "message");
  const std::string text = whole["content"][0]["text"];
  const Json chat = tiny_->ok(
      "/v1/chat/completions",
      {{"max_tokens", 12},
       {"temperature", 0},
       {"messages",
        {{{"role", "system"}, {"content", "be kind"}}, {{"role", "user"}, {"content", "hi"}}}}});
  EXPECT_EQ(text, chat["choices"][0]["message"]["content"]);
  EXPECT_EQ(whole["usage"]["input_tokens"], chat["usage"]["prompt_tokens"]);
  body["stream"] = true;
  std::string streamed;
  std::vector<std::string> types;
  for (const TimedEvent& e : tiny_->post("/v1/messages", body).events) {
    const Json event = Json::parse(e.data);
    types.push_back(event["type"]);
    if (types.back() == "content_block_delta") streamed += event["delta"]["text"];
  }
  EXPECT_EQ(streamed, text);
  ASSERT_GE(types.size(), 5u);
  EXPECT_EQ(types[0], "message_start");
  EXPECT_EQ(types[1], "content_block_start");
  EXPECT_EQ(types.back(), "message_stop");
  body.erase("max_tokens");
  const TimedAnswer wrong = tiny_->post("/v1/messages", body);
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(Json::parse(wrong.body)["type"], "error");
}

TEST_F(EndpointsTest, KServeGenerates) {
  EXPECT_EQ(tiny_->get("/v2/health/live").status, 200);
  EXPECT_EQ(tiny_->get("/v2/health/ready").status, 200);
  EXPECT_EQ(tiny_->get("/v2/models/tiny/ready").status, 200);
  EXPECT_EQ(Json::parse(tiny_->get("/v2/models/tiny").body)["name"], "tiny");
  EXPECT_EQ(tiny_->get("/v2/models/other").status, 404);
  const std::string said =
      tiny_->ok("/v1/completions", prompt("hello there", 10))["choices"][0]["text"];
  const Json body = {{"text_input", "hello there"},
                     {"max_tokens", 10},
                     {"stop_words", ""},
                     {"parameters", {{"temperature", 0}, {"ignore_eos", true}}}};
  EXPECT_EQ(tiny_->ok("/v2/models/tiny/generate", body)["text_output"], said);
  std::string streamed;
  for (const TimedEvent& e : tiny_->post("/v2/models/tiny/generate_stream", body).events)
    streamed += Json::parse(e.data)["text_output"];
  EXPECT_EQ(streamed, said);
  EXPECT_EQ(tiny_->post("/v2/models/tiny/generate", Json{{"max_tokens", 3}}).status, 400);
  EXPECT_EQ(tiny_->post("/v2/models/other/generate", body).status, 404);
}

TEST_F(EndpointsTest, KServeInfersByTensors) {
  const Json prompts = {"hello there", "and now?"};
  const auto tensor = [](const char* name, const char* type, Json shape, Json data) {
    return Json{{"name", name}, {"datatype", type}, {"shape", shape}, {"data", data}};
  };
  std::vector<std::string> said;
  for (const Json& p : prompts)
    said.push_back(tiny_->ok("/v1/completions", prompt(p, 7))["choices"][0]["text"]);
  Json body = {
      {"id", "7"},
      {"inputs",
       {tensor("text_input", "BYTES", {2, 1}, prompts),
        tensor("max_tokens", "INT32", {2, 1}, {{7}, {7}}), tensor("temperature", "FP32", {1}, {0}),
        tensor("ignore_eos", "BOOL", {1}, {true})}}};
  const Json a = tiny_->ok("/v2/models/tiny/infer", body);
  EXPECT_EQ(a["id"], "7");
  EXPECT_EQ(a["outputs"][0]["data"], Json(said));
  EXPECT_EQ(a["outputs"][0]["shape"], Json({2}));
  // The same as bytes.
  body["inputs"][0].erase("data");
  const std::string raw = raw_strings({"hello there", "and now?"});
  body["inputs"][0]["parameters"] = {{"binary_data_size", raw.size()}};
  body["outputs"] = {{{"name", "text_output"}, {"parameters", {{"binary_data", true}}}}};
  const std::string json = body.dump();
  const std::string length = "Inference-Header-Content-Length: " + std::to_string(json.size());
  const TimedAnswer b =
      ask(tiny_->target, "POST", "/v2/models/tiny/infer", json + raw, {}, 60, {length});
  EXPECT_EQ(b.status, 200) << b.body;
  EXPECT_THAT(b.body, ::testing::EndsWith(raw_strings(said)));
  EXPECT_THAT(b.head, HasSubstr("inference-header-content-length: "));
  // What does not fit together.
  for (const size_t cut : {1u, 4u, 12u}) {
    const TimedAnswer wrong = ask(tiny_->target, "POST", "/v2/models/tiny/infer",
                                  json + raw.substr(0, raw.size() - cut), {}, 60, {length});
    EXPECT_EQ(wrong.status, 400) << wrong.body;
  }
  body = {{"inputs", {tensor("text_input", "BYTES", {3}, prompts)}}};
  EXPECT_EQ(tiny_->post("/v2/models/tiny/infer", body).status, 400);
  body = {{"inputs", {tensor("text_input", "BYTES", {-1}, prompts)}}};
  EXPECT_EQ(tiny_->post("/v2/models/tiny/infer", body).status, 400);
}

TEST_F(EndpointsTest, EmbeddingsPoolHiddenStates) {
  const std::string text = "what stands here, and what does it mean?";
  const auto ids = tiny_->llm->tokenizer().encode(text);
  const Json e = tiny_->ok("/v1/embeddings", {{"input", {text, "other"}}});
  ASSERT_EQ(e["data"].size(), 2u);
  EXPECT_EQ(e["usage"]["prompt_tokens"],
            ids.size() + tiny_->llm->tokenizer().encode("other").size());
  double length = 0;
  for (const double x : e["data"][0]["embedding"]) length += x * x;
  EXPECT_NEAR(length, 1, 1e-5);
  // Each token's state is the last one's of the text that ends there; mean pooling adds them up.
  const auto pooled = [&](const Json& input, const char* pooling) {
    const Json a =
        tiny_->ok("/v1/embeddings", {{"input", input}, {"pooling", pooling}, {"normalize", false}});
    return a["data"][0]["embedding"].get<std::vector<double>>();
  };
  std::vector<double> sum;
  for (size_t n = 1; n <= ids.size(); ++n) {
    const auto last =
        pooled(std::vector<int32_t>(ids.begin(), ids.begin() + static_cast<long>(n)), "last");
    sum.resize(last.size());
    for (size_t i = 0; i < last.size(); ++i) sum[i] += last[i] / static_cast<double>(ids.size());
  }
  const auto mean = pooled(ids, "mean");
  ASSERT_EQ(mean.size(), sum.size());
  for (size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(mean[i], sum[i], 1e-4) << i;
  EXPECT_EQ(pooled(std::string(700, 'x'), "mean").size(), mean.size()) << "in several steps";
  // base64 is the same numbers.
  const Json b = tiny_->ok("/v1/embeddings", {{"input", {"other"}}, {"encoding_format", "base64"}});
  const std::string coded = b["data"][0]["embedding"];
  EXPECT_EQ(coded.size(), (sum.size() * 4 + 2) / 3 * 4);
  const auto value = [](char c) {
    return static_cast<uint32_t>(
        std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
            .find(c));
  };
  std::string bytes;
  for (size_t i = 0; i < coded.size(); i += 4) {
    const uint32_t three = (value(coded[i]) & 63) << 18 | (value(coded[i + 1]) & 63) << 12 |
                           (value(coded[i + 2]) & 63) << 6 | (value(coded[i + 3]) & 63);
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>(three >> shift);
  }
  for (size_t i = 0; i < sum.size(); ++i) {
    float f;
    std::memcpy(&f, bytes.data() + 4 * i, 4);
    EXPECT_FLOAT_EQ(f, e["data"][1]["embedding"][i].get<float>());
  }
  EXPECT_EQ(tiny_->post("/v1/embeddings", Json{{"input", ""}}).status, 400);
  EXPECT_EQ(tiny_->post("/v1/embeddings", Json{{"input", "x"}, {"dimensions", 3}}).status, 400);
  EXPECT_EQ(tiny_->post("/v1/embeddings", Json{{"input", "x"}, {"pooling", "max"}}).status, 400);
}

// Every path is described, and every described path is there.
TEST_F(EndpointsTest, OpenApiDescribesWhatIsServed) {
  const Json doc = Json::parse(tiny_->get("/openapi.json").body);
  EXPECT_EQ(doc["components"]["schemas"]["TokenId"]["maximum"], 319);
  for (const auto& [path, item] : doc["paths"].items()) {
    std::string at = path;
    if (const size_t p = at.find("{model}"); p != std::string::npos) at.replace(p, 7, "tiny");
    for (const auto& [method, operation] : item.items()) {
      const TimedAnswer a = method == "post" ? tiny_->post(at, Json::object()) : tiny_->get(at);
      const bool adapters = path.ends_with("_lora_adapter");  // not allowed here
      EXPECT_EQ(a.status, adapters ? 403 : method == "post" ? 400 : 200) << method << path;
      EXPECT_TRUE(operation["responses"].contains(std::to_string(a.status)));
    }
  }
}

TEST_F(EndpointsTest, ThePageAsksNobodyElse) {
  const TimedAnswer page = tiny_->get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.head, HasSubstr("content-security-policy: default-src 'none'"));
  for (const char* elsewhere : {"http://", "https://", "src=", "@import"})
    EXPECT_EQ(page.body.find(elsewhere), std::string::npos) << elsewhere;
}

TEST(TokenizerOfAnotherDirectory, IsTheModelsThen) {
  const TinyModel own(true), model(true, /*elsewhere=*/true);
  const TinyServer a(own), b(model);
  const Json body = {
      {"messages", {{{"role", "user"}, {"content", "go"}}}}, {"max_tokens", 8}, {"temperature", 0}};
  const Json said = a.ok("/v1/chat/completions", body)["choices"];
  EXPECT_NE(said[0]["message"]["content"], "");
  EXPECT_EQ(b.ok("/v1/chat/completions", body)["choices"], said);
}

TEST(WithoutTokenizer, TokenIdsWork) {
  const TinyModel model(false);
  const TinyServer tiny(model);
  const Json body = {{"prompt", {1, 2, 3}}, {"max_tokens", 5}, {"temperature", 0}};
  const Json a = tiny.ok("/v1/completions", body);
  EXPECT_EQ(a["choices"][0]["token_ids"].size(), 5u);
  Json streamed = Json::array();
  for (const Json& c : tiny.stream("/v1/completions", body))
    for (const Json& id : c["choices"][0]["token_ids"]) streamed.push_back(id);
  EXPECT_EQ(streamed, a["choices"][0]["token_ids"]);
  EXPECT_EQ(tiny.post("/v1/completions", Json{{"prompt", "text"}}).status, 400);
  EXPECT_EQ(tiny.post("/tokenize", Json{{"prompt", "text"}}).status, 400);
  EXPECT_EQ(
      tiny.post("/v1/chat/completions", Json{{"messages", {{{"role", "user"}, {"content", "x"}}}}})
          .status,
      400);
}

}  // namespace
}  // namespace tokamak::serve

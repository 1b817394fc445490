// Structured output and tools as clients ask for them; the model has random weights, so that what
// holds is the guide's doing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "serve/tiny_server.h"

namespace tokamak::serve {
namespace {

using ::testing::HasSubstr;

constexpr const char* kSchema =
    R"({"type":"object","properties":{"z":{"type":"integer"},"a":{"enum":["x","y"]},"s":{"type":"string","maxLength":8}},"required":["z","a","s"],"additionalProperties":false})";

class GuidedTest : public TinyServerTest {
 protected:
  // As text: the order of a schema's keys counts.
  static std::string chat(const std::string& more) {
    return R"({"messages":[{"role":"user","content":"go"}],"max_tokens":400,"seed":7)" + more + "}";
  }
  static Json ok(const std::string& path, const std::string& body) {
    const TimedAnswer a = tiny_->post(path, body);
    EXPECT_EQ(a.status, 200) << a.body << a.error;
    return a.status == 200 ? Json::parse(a.body) : Json();
  }
  static std::vector<Json> stream(const std::string& path, std::string body) {
    body.insert(1, R"("stream":true,)");
    const TimedAnswer a = tiny_->post(path, body);
    EXPECT_EQ(a.status, 200) << a.body << a.error;
    std::vector<Json> out;
    for (const auto& e : a.events)
      if (e.data != "[DONE]") out.push_back(Json::parse(e.data));
    return out;
  }
  static void expect_form(const std::string& text) {
    OrderedJson v;
    ASSERT_NO_THROW(v = OrderedJson::parse(text)) << text;
    ASSERT_EQ(v.size(), 3u) << text;
    EXPECT_EQ(v.begin().key(), "z") << "the schema's order: " << text;
    EXPECT_TRUE(v["z"].is_number_integer());
    EXPECT_THAT(v["a"].get<std::string>(), ::testing::AnyOf("x", "y"));
  }
};

std::string format() {
  return std::string(
             R"(,"response_format":{"type":"json_schema","json_schema":{"name":"r","strict":true,"schema":)") +
         kSchema + "}}";
}

TEST_F(GuidedTest, ResponseFormatHolds) {
  const Json a = ok("/v1/chat/completions", chat(format() + R"(,"n":3,"frequency_penalty":1)"));
  ASSERT_EQ(a["choices"].size(), 3u);
  for (const Json& c : a["choices"]) {
    EXPECT_EQ(c["finish_reason"], "stop");
    expect_form(c["message"]["content"]);
  }
  std::string text, reason;
  for (const Json& c : stream("/v1/chat/completions", chat(format() + R"(,"temperature":0)"))) {
    text += c["choices"][0]["delta"].value("content", "");
    if (!c["choices"][0]["finish_reason"].is_null()) reason = c["choices"][0]["finish_reason"];
  }
  expect_form(text);
  EXPECT_EQ(reason, "stop");
}

TEST_F(GuidedTest, GuidedFieldsOfVllm) {
  const std::string head = R"({"prompt":"go","max_tokens":60,"seed":3,)";
  const auto text = [&](const std::string& more) {
    return ok("/v1/completions", head + more + "}")["choices"][0]["text"].get<std::string>();
  };
  EXPECT_THAT(text(R"("guided_choice":["red","green"])"), ::testing::AnyOf("red", "green"));
  EXPECT_THAT(text(R"("guided_regex":"[ab]{3}-\\d")"),
              ::testing::MatchesRegex("[ab][ab][ab]-[0-9]"));
  EXPECT_THAT(text(R"("guided_grammar":"root ::= \"<\" [xy]{2} \">\"")"),
              ::testing::MatchesRegex("<[xy][xy]>"));
  EXPECT_EQ(Json::parse(text(R"("guided_json":{"const":[1,{"k":null}]})")),
            Json::parse(R"([1,{"k":null}])"));
  EXPECT_EQ(text(R"("structured_outputs":{"json":{"const":[1,2]},"disable_any_whitespace":true})"),
            "[1,2]");
}

TEST_F(GuidedTest, GuidesOfKServe) {
  const auto ask = [&](const char* type, const std::string& guide) {
    return tiny_->post("/v2/models/tiny/generate", Json{{"text_input", "go"},
                                                        {"max_tokens", 60},
                                                        {"seed", 3},
                                                        {"temperature", 1},
                                                        {"guided_decoding_guide_type", type},
                                                        {"guided_decoding_guide", guide}});
  };
  const auto text = [&](const char* type, const std::string& guide) {
    const TimedAnswer a = ask(type, guide);
    EXPECT_EQ(a.status, 200) << a.body << a.error;
    return a.status == 200 ? Json::parse(a.body)["text_output"].get<std::string>() : "";
  };
  EXPECT_EQ(Json::parse(text("json_schema", R"({"const":[1,2]})")), Json::parse("[1,2]"));
  EXPECT_THAT(text("regex", "[ab]{3}"), ::testing::MatchesRegex("[ab][ab][ab]"));
  EXPECT_THAT(text("ebnf_grammar", "root ::= \"<\" [xy] \">\""), ::testing::MatchesRegex("<[xy]>"));
  EXPECT_EQ(text("structural_tag",
                 R"({"type":"structural_tag","format":{"type":"const_string","value":"ok"}})"),
            "ok");
  EXPECT_THAT(text("json", ""), ::testing::StartsWith("{"));
  EXPECT_THAT(ask("yaml", "").body, HasSubstr("guided_decoding_guide_type"));
}

// Every "e" that the model says begins a tag.
TEST_F(GuidedTest, StructuralTagsHold) {
  const std::string tag =
      R"({"begin":"e[","content":{"type":"json_schema","json_schema":{"type":"integer","minimum":0,"maximum":99}},"end":"]"})";
  const std::string once =
      R"({"type":"structural_tag","format":{"type":"triggered_tags","triggers":["e"],"tags":[)" +
      tag + R"(],"at_least_one":true,"stop_after_first":true}})";
  for (const char* seed : {"1", "2", "3"}) {
    const Json a = ok("/v1/chat/completions", chat(R"(,"n":2,"response_format":)" + once));
    for (const Json& c : a["choices"]) {
      EXPECT_EQ(c["finish_reason"], "stop") << seed;
      EXPECT_TRUE(std::regex_match(c["message"]["content"].get<std::string>(),
                                   std::regex(R"([^e]*e\[ ?\s*[0-9]{1,2}\s*\])")))
          << c;
    }
  }
  const std::string often =
      R"({"type":"structural_tag","triggers":["e"],"structures":[{"begin":"e[","schema":{"enum":[7]},"end":"]"}]})";
  const std::string head = R"({"prompt":"go","max_tokens":300,"seed":3,)";
  for (const std::string& more :
       {R"("response_format":)" + often,
        R"("structured_outputs":{"structural_tag":)" + Json(often).dump() + "}"}) {
    const auto text =
        ok("/v1/completions", head + more + "}")["choices"][0]["text"].get<std::string>();
    EXPECT_TRUE(std::regex_search(text, std::regex("e\\[\\s*7\\s*\\]"))) << text;
    // The last tag may be cut by max_tokens.
    EXPECT_TRUE(std::regex_match(
        text, std::regex("([^e]*e\\[\\s*7\\s*\\])*[^e]*(e|e\\[\\s*|e\\[\\s*7\\s*)?")))
        << text;
  }
}

TEST_F(GuidedTest, WhatCannotBeIsSaid) {
  const auto error = [&](const std::string& more) {
    const TimedAnswer a = tiny_->post("/v1/chat/completions", chat(more));
    EXPECT_EQ(a.status, 400) << a.body;
    return a.body;
  };
  EXPECT_THAT(error(R"(,"guided_json":{"properties":{"x":{"not":{}}}})"),
              HasSubstr("guided_json: schema/properties/x: the keyword 'not' is not supported"));
  EXPECT_THAT(error(R"(,"guided_regex":"a","guided_choice":["b"])"), HasSubstr("one form"));
  EXPECT_THAT(error(R"(,"guided_regex":"(a")"), HasSubstr("expected )"));
  EXPECT_THAT(error(R"(,"response_format":{"type":"yaml"})"), HasSubstr("response_format.type"));
  EXPECT_THAT(error(R"(,"response_format":{"type":"structural_tag","triggers":["x"]})"),
              HasSubstr("response_format: structural_tag: expected format"));
  EXPECT_THAT(error(R"(,"tool_choice":"required")"), HasSubstr("tool_choice"));
  EXPECT_THAT(error(R"(,"tools":[{"type":"function"}])"), HasSubstr("tools[0].function"));
}

std::string tools() {
  return std::string(R"(,"tools":[{"type":"function","function":{"name":"look","parameters":)") +
         kSchema + R"(}},{"type":"function","function":{"name":"end"}}])";
}

TEST_F(GuidedTest, DemandedCallsAlwaysParse) {
  const Json a =
      ok("/v1/chat/completions",
         chat(tools() + R"(,"tool_choice":{"type":"function","function":{"name":"look"}})"));
  const Json& choice = a["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_TRUE(choice["message"]["content"].is_null()) << choice;
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["function"]["name"], "look");
  EXPECT_THAT(call["id"].get<std::string>(), ::testing::StartsWith("call_"));
  expect_form(call["function"]["arguments"]);

  const Json b = ok("/v1/chat/completions",
                    chat(tools() + R"(,"tool_choice":"required","parallel_tool_calls":false)"));
  ASSERT_EQ(b["choices"][0]["message"]["tool_calls"].size(), 1u) << b;
}

TEST_F(GuidedTest, CallsAreStreamed) {
  std::string name, arguments;
  size_t deltas = 0;
  for (const Json& c :
       stream("/v1/chat/completions",
              chat(tools() + R"(,"tool_choice":{"type":"function","function":{"name":"look"}})"))) {
    const Json& delta = c["choices"][0]["delta"];
    EXPECT_EQ(delta.value("content", ""), "");
    if (!delta.contains("tool_calls")) continue;
    ++deltas;
    const Json& f = delta["tool_calls"][0]["function"];
    name += f.value("name", "");
    arguments += f.value("arguments", "");
  }
  EXPECT_EQ(name, "look");
  EXPECT_GT(deltas, 3u);
  expect_form(arguments);
}

TEST_F(GuidedTest, ResultsGoBackToTheModel) {
  const Json a = ok(
      "/v1/chat/completions",
      R"({"max_tokens":4,"messages":[{"role":"user","content":"go"},{"role":"assistant","content":null,
    "tool_calls":[{"id":"c1","type":"function","function":{"name":"look","arguments":"{\"z\":1}"}}]},
    {"role":"tool","tool_call_id":"c1","content":"done"}])" +
          tools() + "}");
  EXPECT_EQ(a["object"], "chat.completion");
}

TEST_F(GuidedTest, AnthropicsToolsToo) {
  const std::string body =
      std::string(
          R"({"max_tokens":400,"messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"look","input":{"z":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"done"}]}],"tools":[{"name":"look","input_schema":)") +
      kSchema + R"(}],"tool_choice":{"type":"tool","name":"look"}})";
  const Json a = ok("/v1/messages", body);
  EXPECT_EQ(a["stop_reason"], "tool_use");
  ASSERT_EQ(a["content"].size(), 1u) << a;
  EXPECT_EQ(a["content"][0]["type"], "tool_use");
  EXPECT_TRUE(a["content"][0]["input"]["z"].is_number_integer());
  std::string input;
  for (const Json& e : stream("/v1/messages", body))
    if (e["type"] == "content_block_delta") input += e["delta"].value("partial_json", "");
  expect_form(input);
}

}  // namespace
}  // namespace tokamak::serve

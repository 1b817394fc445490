// Calls in the formats of several models' templates, whole and character by character.
#include "serve/tool_parser.h"

#include <gtest/gtest.h>

namespace tokamak::serve {
namespace {

struct Parsed {
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;
};

Parsed parse(const ToolFormat& format, const std::string& text, size_t piece, bool begun = false) {
  Parsed out;
  ToolParser parser(format, begun);
  const auto take = [&](const ToolNews& news) {
    out.content += news.content;
    for (const ToolNews::Call& c : news.calls) {
      if (!c.name.empty()) out.calls.emplace_back(c.name, "");
      EXPECT_EQ(c.index + 1, out.calls.size());
      out.calls.back().second += c.arguments;
    }
  };
  for (size_t i = 0; i < text.size(); i += piece) take(parser.push(text.substr(i, piece)));
  take(parser.finish());
  return out;
}

void expect(const char* chat_template, const std::string& text, const std::string& content,
            const std::vector<std::pair<std::string, std::string>>& calls) {
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{7}, text.size()}) {
    const Parsed p = parse(ToolFormat::of(chat_template), text, piece);
    EXPECT_EQ(p.content, content) << text << " by " << piece;
    EXPECT_EQ(p.calls, calls) << text << " by " << piece;
  }
}

TEST(ToolParser, Hermes) {
  const char* t = "{{ tools }} <tool_call>";
  expect(t,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}</tool_call>\"}}\n</tool_call>",
         "", {{"f", "{\"a\": \"}</tool_call>\"}"}});
  expect(t,
         "I look. <tool_call>{\"arguments\": {\"x\": [1, {}]}, \"name\": \"g\"}</tool_call>\n"
         "<tool_call>\n{\"name\": \"h\"}\n</tool_call>",
         "I look.", {{"g", "{\"x\": [1, {}]}"}, {"h", "{}"}});
  expect(t, "a < b and <tool is no call \n", "a < b and <tool is no call \n", {});
  expect(t, "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\":1}\"}</tool_call>", "",
         {{"f", "{\"a\":1}"}});
  expect(t, "<tool_call>{broken</tool_call>", "{broken</tool_call>", {});
}

TEST(ToolParser, Mistral) {
  expect("[TOOL_CALLS]",
         "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", "
         "\"arguments\": {}}]",
         "", {{"f", "{\"a\": 1}"}, {"g", "{}"}});
}

TEST(ToolParser, Llama3) {
  const char* t = "{{ tools }} \"parameters\" <|python_tag|>";
  expect(t, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}", "", {{"f", "{\"a\": 1}"}});
  expect(t,
         "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": "
         "{\"b\": true}}",
         "", {{"f", "{}"}, {"g", "{\"b\": true}"}});
  expect(t, "The answer is {\"name\": 3}.", "The answer is {\"name\": 3}.", {});
  expect(t, "{\"answer\": 3}", "{\"answer\": 3}", {});
}

TEST(ToolParser, GoesOnBehindTheBeginningOfACall) {
  const ToolFormat f = ToolFormat::of("<tool_call>");
  const Parsed p = parse(f, "{\"name\": \"f\", \"arguments\": {}}\n</tool_call>", 2, true);
  EXPECT_EQ(p.content, "");
  ASSERT_EQ(p.calls.size(), 1u);
}

}  // namespace
}  // namespace tokamak::serve

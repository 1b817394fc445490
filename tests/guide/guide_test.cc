// Guides are right by construction: whatever random weights choose under their masks parses.
#include "guide/guide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"
#include "base/error_of.h"
#include "guide/mini_schema.h"
#include "guide/random_text.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;
using testing::RandomText;
using testing::Vocabulary;

constexpr uint32_t kSeed = 20260807;

GuideSpec spec(GuideSpec::Kind kind, std::string text) {
  return {.kind = kind, .text = std::move(text)};
}
GuideSpec schema(std::string text) { return spec(GuideSpec::Kind::json_schema, std::move(text)); }

const std::vector<std::string>& schemas() {
  static const std::vector<std::string> all = {
      R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false})",
      R"({"type":"object","properties":{"a":{"type":"number"},"b":{"type":"boolean"},"c":{"type":"null"},"d":{"enum":["x","y\"z",3,null,{"k":[1]}]}},"required":["b"]})",
      R"({"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"string","maxLength":5}})",
      R"({"type":"array","items":{"type":"integer","minimum":-17,"maximum":1203},"minItems":2,"maxItems":5})",
      R"({"type":"array","prefixItems":[{"type":"string","maxLength":3},{"type":"boolean"}],"items":{"const":7},"minItems":1,"maxItems":4})",
      R"({"type":"string","minLength":3,"maxLength":9})",
      R"({"type":"string","maxLength":300,"minLength":150})",
      R"({"type":"string","pattern":"^[A-Z]{2}-[0-9]+(\\.[a-z\"\\\\]{1,3})?$"})",
      R"({"type":"string","pattern":"[a-m]|x[^c]$"})",
      R"({"type":"string","pattern":"^[a-z]+$","minLength":4,"maxLength":6})",
      R"({"type":["string","null","integer"]})",
      R"({"anyOf":[{"type":"string"},{"type":"array","items":{"type":"null"}}]})",
      R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"n":{"type":"integer"}},"required":["kind"]},{"type":"object","properties":{"kind":{"const":"b"}},"required":["kind"]}]})",
      R"({"$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["value","children"],"additionalProperties":false}},"$ref":"#/$defs/node"})",
      R"({"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]})",
      R"({"allOf":[{"type":"object","properties":{"a":{"type":"number"}},"required":["a"]},{"properties":{"a":{"maximum":12.5},"b":{"type":"string"}},"required":["b"]}]})",
      R"({"type":"number","minimum":-1.25,"exclusiveMaximum":3.5})",
      R"({"type":"number","exclusiveMinimum":0,"maximum":0.001})",
      R"({"type":"integer","exclusiveMinimum":99,"maximum":100})",
      R"({"type":"object","patternProperties":{"^x_":{"type":"integer"},"_y$":{"type":"string"}},"additionalProperties":false})",
      R"({"type":"object","propertyNames":{"pattern":"^[a-c]+$"},"additionalProperties":{"type":"boolean"},"minProperties":1,"maxProperties":3})",
      R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},{"properties":{"c":{"const":2}},"required":["c"]}]})",
      R"({"type":"object","properties":{"é\"\n":{"type":"integer"},"日本":{"type":"string","enum":["ぁ","\u0001"]}},"required":["é\"\n","日本"]})",
      R"({"type":"object"})",
      R"({"type":"array"})",
      R"(true)",
      R"({"type":"object","properties":{"list":{"type":"array","items":{"type":"object","properties":{"k":{"type":"string"},"v":{"type":["number","string"]}},"required":["k","v"],"additionalProperties":false},"maxItems":3}},"required":["list"],"additionalProperties":false})"};
  return all;
}

TEST(Guide, TextsSatisfyTheirSchema) {
  std::mt19937 random(kSeed);
  for (const Vocabulary& v : testing::vocabularies())
    for (const std::string& text : schemas())
      for (const bool compact : {false, true}) {
        SCOPED_TRACE(v.name + " " + text);
        GuideSpec s = schema(text);
        s.compact = compact;
        const auto guide = testing::make_guide(v, s);
        const OrderedJson wanted = OrderedJson::parse(text);
        int ended = 0;
        for (int i = 0; i < (v.guide->size() > 10'000 ? 4 : 12); ++i) {
          const RandomText r = testing::random_text(v, guide, random);
          if (!r.ended) continue;
          ++ended;
          OrderedJson value;
          ASSERT_NO_THROW(value = OrderedJson::parse(r.text)) << r.text;
          EXPECT_EQ(testing::violation(wanted, value, wanted), "") << r.text;
        }
        EXPECT_GE(ended, 1);
      }
}

TEST(Guide, PropertiesComeInTheSchemasOrder) {
  const Vocabulary& v = testing::vocabularies()[0];
  const auto guide = testing::make_guide(
      v,
      schema(
          R"({"type":"object","properties":{"z":{"const":1},"a":{"const":2}},"required":["a","z"]})"));
  GuideState state(guide);
  EXPECT_TRUE(state.accept_bytes(R"({"z": 1, "a": 2})"));
  EXPECT_TRUE(state.complete());
  EXPECT_FALSE(GuideState(guide).accept_bytes(R"({"a")"));
}

// What the mask says of a token is what walking its bytes says.
TEST(Guide, MasksAreExact) {
  std::mt19937 random(kSeed + 1);
  const auto grammar = spec(GuideSpec::Kind::grammar, R"~(
    root ::= item ("," item)*
    item ::= [a-z]+ | "(" root ")" | "<" item item ">" )~");
  std::vector<GuideSpec> specs = {grammar, spec(GuideSpec::Kind::regex, "(a|b)*abb[é-ü]{2,70}x?")};
  for (const std::string& s : schemas()) specs.push_back(schema(s));
  for (const Vocabulary& v : testing::vocabularies()) {
    if (v.guide->size() > 10'000) continue;
    for (const GuideSpec& s : specs) {
      const auto guide = testing::make_guide(v, s);
      GuideState state(guide);
      for (int step = 0; step < 25 && !state.complete(); ++step) {
        const auto mask = state.mask();
        std::vector<int32_t> allowed;
        for (int32_t id = 0; id < static_cast<int32_t>(v.guide->size()); ++id) {
          GuideState copy = state;
          ASSERT_EQ(copy.accept(id), mask->allows(id))
              << v.name << " " << s.text << " token " << id;
          if (mask->allows(id)) allowed.push_back(id);
        }
        ASSERT_FALSE(allowed.empty());
        ASSERT_TRUE(state.accept(allowed[random() % allowed.size()]));
      }
    }
  }
}

// States of long repetitions share masks: far from the end, near it, at the edges of blocks.
TEST(Guide, MasksOfLongRepetitionsAreExact) {
  struct Case {
    const char* pattern;
    std::vector<int> places;  // characters before
  };
  const Case cases[] = {
      {"[a-zé]{0,400}!", {5, 31, 200, 368, 370, 383, 390, 395, 399}},
      {"[a-zé]{390,400}!", {5, 350, 371, 380, 389, 390, 399}},
      {"([a-z ]{3,150},){2}[a-z]{2,5}", {7, 100, 125, 140, 148}},
      {"[a-zé]{40,9000}!", {5, 8, 24, 31, 32, 39, 40, 63, 4000, 8970, 8985, 8999}},  // in blocks
      {"[a-zé]{8990,9000}!", {5, 20, 31, 32, 33, 8970, 8989, 8995}},
  };
  for (const Vocabulary& v : testing::vocabularies()) {
    if (v.guide->size() > 10'000) continue;
    for (const Case& c : cases) {
      const auto guide = testing::make_guide(v, spec(GuideSpec::Kind::regex, c.pattern));
      for (const int place : c.places) {
        GuideState state(guide);
        size_t first = 0;  // masks of first tokens are others
        for (int32_t id = 0; first == 0 && id < static_cast<int32_t>(v.guide->size()); ++id)
          if (GuideState copy = state; copy.accept(id)) {
            const auto& texts = v.guide->first.empty() ? v.guide->inside : v.guide->first;
            const std::string& text = texts[static_cast<size_t>(id)];
            if (text.size() > 5 ||
                text.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != text.npos)
              continue;
            first = text.size();
            state = copy;
          }
        ASSERT_GT(first, 0u) << v.name;
        ASSERT_TRUE(state.accept_bytes(std::string(static_cast<size_t>(place) - first, 'a')));
        const auto mask = state.mask();
        for (int32_t id = 0; id < static_cast<int32_t>(v.guide->size()); ++id) {
          GuideState copy = state;
          ASSERT_EQ(copy.accept(id), mask->allows(id))
              << v.name << " " << c.pattern << " behind " << place << ": token " << id;
        }
      }
    }
  }
}

TEST(Guide, RegexesMatchWhole) {
  std::mt19937 random(kSeed + 2);
  const std::vector<std::string> patterns = {
      "[0-9]{3}-[0-9]{4}", "(yes|no|maybe)+!?",        "^\\w+@\\w+\\.com$",     "[^\\n]{5,8}",
      "a*?b{2,}?c",        "(?:x|y)(?P<n>z{0,40}){2}", "\\x41\\u0042[\\]\\-a]", "((a|b){3}){40}"};
  for (const Vocabulary& v : testing::vocabularies())
    for (const std::string& p : patterns) {
      const auto guide = testing::make_guide(v, spec(GuideSpec::Kind::regex, p));
      std::string plain = p;
      if (const size_t at = plain.find("?P<n>"); at != std::string::npos) plain.erase(at, 5);
      for (int i = 0; i < 5; ++i) {
        const RandomText r = testing::random_text(v, guide, random);
        if (!r.ended || p == "[^\\n]{5,8}") continue;  // std::regex counts bytes
        EXPECT_TRUE(std::regex_match(r.text, std::regex(plain)))
            << v.name << " " << p << " " << r.text;
      }
    }
}

TEST(Guide, ChoicesAndCalls) {
  std::mt19937 random(kSeed + 3);
  for (const Vocabulary& v : testing::vocabularies()) {
    const auto guide = testing::make_guide(
        v,
        {.kind = GuideSpec::Kind::choice, .choices = {"Berlin", "Paris", " Rome", "Bern", "日本"}});
    for (int i = 0; i < 20; ++i) {
      const RandomText r = testing::random_text(v, guide, random);
      ASSERT_TRUE(r.ended);
      EXPECT_THAT(r.text, ::testing::AnyOf("Berlin", "Paris", " Rome", "Bern", "日本")) << v.name;
    }
    const auto calls = testing::make_guide(
        v, {.kind = GuideSpec::Kind::calls,
            .calls = {{"<c>{\"name\": \"f\", \"arguments\": ",
                       R"({"type":"object","properties":{"x":{"type":"integer"}}})", "}</c>"},
                      {"<c>{\"name\": \"g\", \"arguments\": ",
                       R"({"type":"object","properties":{}})", "}</c>"}},
            .separator = "\n",
            .max_calls = 3});
    const RandomText r = testing::random_text(v, calls, random);
    EXPECT_TRUE(r.ended);
    EXPECT_TRUE(r.text.starts_with("<c>{\"name\"")) << r.text;
    EXPECT_TRUE(r.text.ends_with("}</c>")) << r.text;
  }
}

std::string error_of(const GuideSpec& s) {
  return test::error_of([&] { testing::make_guide(testing::vocabularies()[0], s); });
}

TEST(Guide, ErrorsNameTheKeywordAndItsPlace) {
  const auto fails = [](const char* text, const char* message) {
    EXPECT_THAT(error_of(schema(text)), HasSubstr(message)) << text;
  };
  fails(R"({"type":"object","properties":{"x":{"type":"array","uniqueItems":true}}})",
        "schema/properties/x: the keyword 'uniqueItems' is not supported");
  fails(R"({"items":{"not":{}}})", "schema/items: the keyword 'not' is not supported");
  fails(R"({"$ref":"#/$defs/none"})", "leads nowhere");
  fails(R"({"type":"strng"})", "schema/type");
  fails(R"({"type":"string","format":"iban"})", "schema/format: 'iban' is not supported");
  fails(R"~({"type":"string","pattern":"(?=a)"})~", "look-around");
  fails(R"({"type":"integer","minimum":5,"maximum":4})", "no integer lies between");
  fails(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "both 0 and 1");
  fails(R"({"type":"object","properties":{"x":{"$ref":"#"}},"required":["x"]})", "nothing");
  fails(R"({"allOf":[{"$ref":"#"}]})", "lead back to themselves");
  fails(R"({"required":7})", "required");
  fails(R"({"properties":)", "not valid JSON");
  const auto grammar = [](const char* text) {
    return error_of(spec(GuideSpec::Kind::grammar, text));
  };
  EXPECT_THAT(grammar("root ::= root \"a\" | \"b\""), HasSubstr("'root' begins with itself"));
  EXPECT_THAT(grammar("root ::= x"), HasSubstr("'x' is used but not defined"));
  EXPECT_THAT(grammar("start ::= \"x\""), HasSubstr("no rule 'root'"));
  EXPECT_THAT(grammar("root ::= \"x"), HasSubstr("expected \""));
  EXPECT_THAT(grammar("root ::= \"a\" root"), HasSubstr("matches nothing"));
  EXPECT_THAT(error_of(spec(GuideSpec::Kind::regex, "a(b")), HasSubstr("expected )"));
  EXPECT_THAT(error_of(spec(GuideSpec::Kind::regex, "((a{1000}){1000}){1000}b")),
              HasSubstr("states"));
}

TEST(Guide, GrammarsOfLlamaCppAreRead) {
  const Vocabulary& v = testing::vocabularies()[1];
  const auto guide = testing::make_guide(v, spec(GuideSpec::Kind::grammar, R"~(
# arithmetic
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
)~"));
  for (const char* good : {"x=1\n", "(a +12)*b = 7\n", "1=1\nz*(y)= (q)\n"}) {
    GuideState state(guide);
    EXPECT_TRUE(state.accept_bytes(good)) << good;
    EXPECT_TRUE(state.may_end()) << good;
  }
  for (const char* bad : {"=", "x==", "(a=1\n", "A"})
    EXPECT_FALSE(GuideState(guide).accept_bytes(bad)) << bad;
}

TEST(Guide, DeepTextsKeepTheirStack) {
  const Vocabulary& v = testing::vocabularies()[0];
  const auto guide = testing::make_guide(v, {.kind = GuideSpec::Kind::json_object});
  GuideState state(guide);
  std::string open = "{\"a\":", text;
  for (int i = 0; i < 3000; ++i) text += "[";
  ASSERT_TRUE(state.accept_bytes(open + text));
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(state.accept_bytes("]")) << i;
  EXPECT_FALSE(GuideState(state).accept_bytes("]"));
  EXPECT_TRUE(state.accept_bytes("}"));
  EXPECT_TRUE(state.complete());
}

}  // namespace
}  // namespace tokamak

// Free text with tags in it: whatever is chosen under the masks, each trigger begins a tag, and
// what stands in it satisfies its schema.
#include "guide/structural_tag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/error_of.h"
#include "guide/guide.h"
#include "guide/mini_schema.h"
#include "guide/random_text.h"

namespace tokamak {
namespace {

using ::testing::HasSubstr;
using testing::Vocabulary;

constexpr uint32_t kSeed = 20261122;

GuideSpec spec(std::string text) {
  return {.kind = GuideSpec::Kind::structural_tag, .text = std::move(text)};
}

constexpr const char* kTwoTools = R"({"type":"structural_tag","triggers":["<f=","[["],"structures":[
  {"begin":"<f=look>","schema":{"type":"object","properties":{"x":{"type":"integer"},"s":{"type":"string","maxLength":3}},"required":["x","s"],"additionalProperties":false},"end":"</f>"},
  {"begin":"<f=go>","schema":{"type":"array","items":{"enum":[1,"é",null]},"maxItems":4},"end":"</f>"},
  {"begin":"[[","schema":{"type":"boolean"},"end":"]]"}]})";

// A model that likes triggers.
std::string random_text(const Vocabulary& v, const std::shared_ptr<const Guide>& guide,
                        const std::vector<std::string>& triggers, std::mt19937& random) {
  GuideState state(guide);
  std::string text;
  bool begun = false;  // by a token: the first one may add less
  for (int step = 0; step < 3000 && !state.complete(); ++step) {
    if (state.may_end() && step > 60 && random() % 8 == 0) return text;
    if (const std::string& t = triggers[random() % triggers.size()]; random() % 6 == 0) {
      if (GuideState copy = state; copy.accept_bytes(t)) {
        state = copy;
        text += t;
        continue;
      }
    }
    const std::vector<int32_t> ids = state.mask()->ids();
    if (ids.empty()) break;
    const int32_t token = ids[random() % ids.size()];
    const auto& pieces = !begun && !v.guide->first.empty() ? v.guide->first : v.guide->inside;
    EXPECT_TRUE(state.accept(token)) << "the mask allows what the state does not";
    text += pieces[static_cast<size_t>(token)];
    begun = true;
  }
  EXPECT_TRUE(state.may_end()) << "a dead end, or no end: " << text;
  return text;
}

// "" or what is wrong; counts tags.
std::string violation(const OrderedJson& tag, const std::string& text, int& tags) {
  for (size_t at = 0;;) {
    size_t found = std::string::npos;
    for (const OrderedJson& t : tag.at("triggers"))
      found = std::min(found, text.find(t.get<std::string>(), at));
    if (found == std::string::npos) return "";
    const OrderedJson* of = nullptr;
    for (const OrderedJson& s : tag.at("structures"))
      if (text.compare(found, s["begin"].get_ref<const std::string&>().size(),
                       s["begin"].get_ref<const std::string&>()) == 0)
        of = &s;
    if (!of) return "a trigger without its tag";
    const size_t begin = found + (*of)["begin"].get_ref<const std::string&>().size();
    const auto end_word = (*of)["end"].get<std::string>();
    const size_t end = text.find(end_word, begin);
    if (end == std::string::npos) return "a tag without its end";
    const auto value = OrderedJson::parse(text.substr(begin, end - begin), nullptr, false);
    if (value.is_discarded()) return "no JSON: " + text.substr(begin, end - begin);
    if (std::string w = testing::violation((*of)["schema"], value, (*of)["schema"]); !w.empty())
      return w;
    ++tags;
    at = end + end_word.size();
  }
}

TEST(StructuralTag, EveryTagParses) {
  std::mt19937 random(kSeed);
  const OrderedJson tag = OrderedJson::parse(kTwoTools);
  for (const Vocabulary& v : testing::vocabularies()) {
    SCOPED_TRACE(v.name);
    const auto guide = testing::make_guide(v, spec(kTwoTools));
    int tags = 0;
    for (int i = 0; i < (v.guide->size() > 10'000 ? 3 : 30); ++i) {
      const std::string text = random_text(v, guide, {"<f=", "[[", "<f", "["}, random);
      ASSERT_EQ(violation(tag, text, tags), "") << text;
    }
    EXPECT_GE(tags, 3);
  }
}

TEST(StructuralTag, MasksAreExact) {
  std::mt19937 random(kSeed + 1);
  for (const Vocabulary& v : testing::vocabularies()) {
    if (v.guide->size() > 10'000) continue;
    const auto guide = testing::make_guide(v, spec(kTwoTools));
    for (const char* begin : {"", "a", "a<", "a<f", "a<f=", "a<f=g", "[", "[[tru", "[[true]",
                              "[[true]]<", "<f=go>[]</f"}) {
      GuideState state(guide);
      ASSERT_TRUE(state.accept_bytes(begin)) << begin;
      for (int step = 0; step < 3; ++step) {
        const auto mask = state.mask();
        for (int32_t id = 0; *begin && id < static_cast<int32_t>(v.guide->size()); ++id) {
          GuideState copy = state;
          ASSERT_EQ(copy.accept(id), mask->allows(id))
              << v.name << " '" << begin << "' token " << id;
        }
        const auto ids = mask->ids();
        ASSERT_FALSE(ids.empty());
        ASSERT_TRUE(state.accept(ids[random() % ids.size()]));
      }
    }
  }
}

TEST(StructuralTag, Formats) {
  const std::string one =
      R"({"type":"tag","begin":"<a>","content":{"type":"json_schema","json_schema":{"type":"integer"}},"end":"</a>"})";
  const std::string other =
      R"({"type":"tag","begin":"<b>","content":{"type":"any_text"},"end":"</b>"})";
  const std::string triggered =
      R"({"type":"triggered_tags","triggers":["<"],"tags":[)" + one + "," + other + "]";
  const std::string separated =
      R"({"type":"tags_with_separator","separator":", ","tags":[)" + one + "," + other + "]";
  struct Case {
    std::string format;
    std::vector<const char*> right, wrong;
  };
  const std::vector<Case> cases = {
      {triggered + "}",
       {"", "x", "<a>1</a>", "é<a>-12</a>y<b>x<a>z</b>", "<b></b>"},
       {"<", "a<b", "<a>1", "<a>x</a>", "<c>", "<b>x</b"}},
      {triggered + R"(,"at_least_one":true})", {"<a>1</a>", "x<b>y</b>z"}, {"", "x"}},
      {triggered + R"(,"stop_after_first":true})",
       {"", "x", "x<a>1</a>"},
       {"<a>1</a>x", "<a>1</a><a>1</a>"}},
      {triggered + R"(,"at_least_one":true,"stop_after_first":true})",
       {"<a>1</a>", "x<b></b>"},
       {"", "x", "<a>1</a>x"}},
      {separated + "}",
       {"", "<a>1</a>", "<a>1</a>, <b>, </b>, <a>2</a>"},
       {"x", "<a>1</a>, ", "<a>1</a><a>1</a>"}},
      {separated + R"(,"at_least_one":true,"stop_after_first":true})",
       {"<a>1</a>"},
       {"", "<a>1</a>, <a>1</a>"}},
      {R"({"type":"sequence","elements":[)" + other + "," + triggered + "}]}",
       {"<b>think</b>", "<b>t</b>say<a>1</a>"},
       {"", "say", "<a>1</a>"}},
      {R"({"type":"or","elements":[{"type":"const_string","value":"no"},{"type":"regex","pattern":"[0-9]+"}]})",
       {"no", "17"},
       {"", "n", "no1"}},
      {R"({"type":"tag","begin":"(","content":)" + triggered + R"~(},"end":[")","!"]})~",
       {"()", "(x!", "(x<a>1</a>y)"},
       {"(x", "(<)", "(x)y)"}},
      {R"({"type":"any_text"})", {"", "all <a>"}, {}},
  };
  const Vocabulary& v = testing::vocabularies()[0];
  for (const Case& c : cases) {
    const auto guide = testing::make_guide(v, spec(R"({"format":)" + c.format + "}"));
    const auto takes = [&](const char* text) {
      GuideState state(guide);
      return state.accept_bytes(text) && state.may_end();
    };
    for (const char* text : c.right) EXPECT_TRUE(takes(text)) << c.format << "\n" << text;
    for (const char* text : c.wrong) EXPECT_FALSE(takes(text)) << c.format << "\n" << text;
  }
}

TEST(StructuralTag, ErrorsNameThePlace) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "expected an object"},
      {R"({"structures":[]})", "expected format, or structures and triggers"},
      {R"({"structures":[],"triggers":["x"]})", "structures: expected an array that is not empty"},
      {R"({"structures":[{"begin":"x","schema":{}}],"triggers":["x"]})",
       "structures[0].end is missing"},
      {R"({"structures":[{"begin":"x","schema":3,"end":""}],"triggers":["x"]})",
       "structures[0].schema: expected a JSON schema"},
      {R"({"structures":[{"begin":"x","schema":{"not":{}},"end":""}],"triggers":["x"]})",
       "'not' is not supported"},
      {R"({"structures":[{"begin":"x","schema":{},"end":""}],"triggers":["y"]})",
       "no trigger begins the tag 'x'"},
      {R"({"structures":[{"begin":"x","schema":{},"end":""}],"triggers":[""]})",
       "triggers[0] is empty"},
      {R"({"format":{"type":"xml"}})", "format.type is 'xml'"},
      {R"({"format":{"type":"sequence","elements":[{"type":"tag","begin":"a","end":"b"}]}})",
       "format.elements[0].content is missing"},
      {R"({"format":{"type":"sequence","elements":[{}]}})", "format.elements[0].type is missing"},
      {R"({"format":{"type":"regex","pattern":"("}})", "format"},
  };
  for (const auto& [text, part] : cases)
    EXPECT_THAT(
        test::error_of([&] { testing::make_guide(testing::vocabularies()[0], spec(text)); }),
        HasSubstr(part))
        << text;
}

}  // namespace
}  // namespace tokamak

// Chat templates against Jinja2 as Hugging Face configures it. The fixtures come from
// tools/make_chat_template_fixtures.py; TOKAMAK_TEMPLATE_CASES names more files of the same form
// (its --fuzz mode writes them), separated by colons.
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace tokamak {
namespace {

using testing::HasSubstr;

std::string render(const std::string& source, const std::string& variables = "{}",
                   TemplateLimits limits = {}) {
  return ChatTemplate(source, limits).render(OrderedJson::parse(variables));
}

std::string error_of(const std::string& source, const std::string& variables = "{}",
                     TemplateLimits limits = {}) {
  try {
    const std::string text = render(source, variables, limits);
    return "no error; rendered: " + text;
  } catch (const Error& e) {
    return e.what();
  }
}

struct Tally {
  int same = 0, failed_alike = 0, different = 0;
};

// One file of fixtures: {"contexts": [...], "cases": [[name, template, [[context, text or
// null]…]]…]}; null stands for an error of Jinja2.
Tally run_fixtures(const std::string& path) {
  const OrderedJson file = OrderedJson::parse(read_text(path));
  const OrderedJson& contexts = file.at("contexts");
  Tally tally;
  for (const OrderedJson& entry : file.at("cases")) {
    const auto name = entry[0].get<std::string>();
    const auto source = entry[1].get<std::string>();
    for (const OrderedJson& expectation : entry[2]) {
      const OrderedJson& context = contexts.at(expectation[0].get<size_t>());
      std::string found, error;
      try {
        found = ChatTemplate(source).render(context);
      } catch (const Error& e) {
        error = e.what();
      }
      const bool must_fail = expectation[1].is_null();
      const bool ok =
          must_fail ? !error.empty() : error.empty() && found == expectation[1].get<std::string>();
      if (ok) {
        ++(must_fail ? tally.failed_alike : tally.same);
      } else if (++tally.different <= 10) {
        ADD_FAILURE() << path << ": " << name << " with context " << expectation[0]
                      << "\ntemplate: " << source << "\ncontext: " << context.dump()
                      << "\nexpected: " << expectation[1].dump() << "\nfound:    "
                      << (error.empty() ? OrderedJson(found).dump() : "error: " + error);
      }
    }
  }
  EXPECT_EQ(tally.different, 0) << path;
  std::printf("%s: %d equal, %d failed alike, %d different\n", path.c_str(), tally.same,
              tally.failed_alike, tally.different);
  return tally;
}

TEST(ChatTemplate, MatchesJinja2OnModelFamilies) {
  const Tally tally = run_fixtures(TOKAMAK_TEST_DATA "/text/chat_templates.json");
  EXPECT_GT(tally.same, 200);
}

TEST(ChatTemplate, MatchesJinja2OnRandomTemplates) {
  const Tally tally = run_fixtures(TOKAMAK_TEST_DATA "/text/chat_template_fuzz.json");
  EXPECT_GT(tally.same, 500);
}

TEST(ChatTemplate, MatchesJinja2OnMoreCases) {
  const char* more = std::getenv("TOKAMAK_TEMPLATE_CASES");
  if (!more) GTEST_SKIP() << "TOKAMAK_TEMPLATE_CASES is not set";
  std::string paths = more;
  for (size_t start = 0; start <= paths.size();) {
    const size_t colon = std::min(paths.find(':', start), paths.size());
    run_fixtures(paths.substr(start, colon - start));
    start = colon + 1;
  }
}

TEST(ChatTemplate, ErrorsNameLineAndColumn) {
  EXPECT_THAT(error_of("a\n{% for x in %}"),
              HasSubstr("line 2, column 13: expected an expression"));
  EXPECT_THAT(error_of("{{ 'abc }}"), HasSubstr("line 1, column 4: this string is not closed"));
  EXPECT_THAT(error_of("\n\n{{ (1] }}"),
              HasSubstr("line 3, column 6: unexpected ']', expected ')'"));
  EXPECT_THAT(error_of("{% if x %}"),
              HasSubstr("line 1, column 4: this block is not closed by 'endif'"));
  EXPECT_THAT(error_of("{{ x|nothing }}"), HasSubstr("no filter or test named 'nothing'"));
  EXPECT_THAT(error_of("{% include 'x' %}"), HasSubstr("a chat template is one file"));
  EXPECT_THAT(error_of("{% break %}"), HasSubstr("'break' outside of a loop"));
  EXPECT_THAT(error_of("\n\n{{ missing.field }}"), HasSubstr("line 3: 'missing' is undefined"));
  EXPECT_THAT(error_of("{{ 1 }}\n{{ 'a' + 1 }}"), HasSubstr("line 2: '+' cannot join str and int"));
}

TEST(ChatTemplate, RaiseExceptionGivesItsMessage) {
  EXPECT_EQ(error_of("{{ raise_exception('Roles must alternate') }}"), "Roles must alternate");
}

TEST(ChatTemplate, TheSandboxHidesMutationAndInternals) {
  EXPECT_THAT(error_of("{{ l.append(1) }}", R"({"l": []})"),
              HasSubstr("templates cannot change values"));
  EXPECT_THAT(error_of("{{ d.update(a=1) }}", R"({"d": {}})"),
              HasSubstr("templates cannot change values"));
  EXPECT_EQ(render("{{ ''.__class__ }}|{{ ''['__class__'] }}"), "|");
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns._x = 1 %}"), HasSubstr("underscore"));
}

TEST(ChatTemplate, StrftimeNowUsesTheGivenTime) {
  const auto noon = std::chrono::system_clock::from_time_t(1'700'000'000 / 86400 * 86400 + 43200);
  EXPECT_EQ(ChatTemplate("{{ strftime_now('%d %b %Y') }}").render(OrderedJson::object(), noon),
            "14 Nov 2023");
}

TEST(ChatTemplate, NamespacesThatHoldThemselvesAreFreed) {
  EXPECT_EQ(
      render("{% set ns = namespace() %}{% set ns.me = ns %}{% macro m() %}{{ m }}{% endmacro %}"
             "{% set ns.m = m %}{{ ns.me.me.x }}"),
      "");
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}"),
              HasSubstr("contains itself"));
}

// Each of these would run for years, or take all memory, or overflow the stack.
TEST(ChatTemplate, HostileTemplatesEnd) {
  const std::string nines =
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
  EXPECT_THAT(error_of(nines, "{}", {.max_steps = 200'000}), HasSubstr("steps"));
  EXPECT_THAT(error_of("{{ range(100001)|length }}"), HasSubstr("range()"));
  EXPECT_THAT(error_of("{{ 'x' * 99999999999 }}"), HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ [1] * 99999999999 }}"), HasSubstr("too large"));
  EXPECT_THAT(error_of("{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s "
                       "+ ns.s %}{% endfor %}"),
              testing::AnyOf(HasSubstr("too large"), HasSubstr("bytes"), HasSubstr("steps")));
  EXPECT_THAT(error_of("{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = "
                       "[ns.s, ns.s] %}{% endfor %}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = "
                       "[ns.s, ns.s] %}{% endfor %}{{ ns.s }}"),
              testing::AnyOf(HasSubstr("steps"), HasSubstr("large")));
  EXPECT_THAT(error_of("{% set ns = namespace(s=[1]) %}{% for i in range(9999) %}{% set ns.s = "
                       "ns.s|map('string') %}{% endfor %}{{ ns.s|list }}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("deep"));
  EXPECT_THAT(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
              HasSubstr("recurses"));
  EXPECT_THAT(error_of("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"),
              HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{{ " + std::string(100000, '-') + "1 }}"), HasSubstr("nested too deeply"));
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i) sum += "+1";
  EXPECT_THAT(error_of(sum + " }}"), HasSubstr("nested too deeply"));
  std::string ifs;
  for (int i = 0; i < 100000; ++i) ifs += "{% if 1 %}";
  EXPECT_THAT(error_of(ifs), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "{}",
                       {.max_output_bytes = 1 << 20}),
              HasSubstr("the output exceeds"));
  EXPECT_THAT(error_of("{{ '%99999999d' % 1 }}"), HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ '{:99999999}'.format(1) }}"), HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ 9223372036854775807 + 1 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(error_of("{{ 2 ** 200 }}"), HasSubstr("64 bits"));
}

TEST(ChatTemplate, OneTemplateRendersManyTimes) {
  const ChatTemplate t(
      "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ "
      "ns.n }}");
  EXPECT_EQ(t.render(OrderedJson::parse(R"({"messages": [1, 2]})")), "2");
  EXPECT_EQ(t.render(OrderedJson::parse(R"({"messages": [1, 2, 3]})")), "3");
}

}  // namespace
}  // namespace tokamak

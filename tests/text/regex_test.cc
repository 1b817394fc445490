// Oniguruma's meaning on PCRE2. tools/make_tokenizer_fixtures.py compares many more patterns.
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/regex.h"

namespace tokamak {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  const Regex regex(pattern, "test");
  Regex::Matcher matcher(regex, text);
  std::vector<std::string> out;
  for (Regex::Match m; matcher.next(m);) out.emplace_back(text.substr(m.begin, m.end - m.begin));
  return out;
}

using Strings = std::vector<std::string>;

TEST(Regex, MeansWhatOnigurumaMeans) {
  EXPECT_EQ(matches(R"(\s)", "a\u180Eb\u3000\v"), (Strings{"\u3000", "\v"}));
  EXPECT_EQ(matches(R"(\h+)", "xBEEF g12"), (Strings{"BEEF", "12"}));
  EXPECT_EQ(matches(R"([0-9]{2}+)", "12345"), (Strings{"1234"}));
  EXPECT_EQ(matches(R"(xa{2}?y)", "xy xaay xay"), (Strings{"xy", "xaay"}));
  EXPECT_EQ(matches(R"(\d{,2}x)", "123x x"), (Strings{"23x", "x"}));
  EXPECT_EQ(matches(R"((?m)a.b)", "a\nb"), (Strings{"a\nb"}));
  EXPECT_EQ(matches(R"(a.b)", "a\nb"), Strings{});
  EXPECT_EQ(matches(R"(^.)", "ab\ncd\n"), (Strings{"a", "c"}));
  EXPECT_EQ(matches(R"(a(?i)b|c)", "aB aC c C"), (Strings{"aB", "aC"}));
  EXPECT_EQ(matches(R"([a-z&&[^aeiou]]+)", "hello"), (Strings{"h", "ll"}));
  EXPECT_EQ(matches(R"([a[0-9]]+)", "ba12"), (Strings{"a12"}));
  EXPECT_EQ(matches(R"([[:punct:]])", "a+b。"), (Strings{"+", "。"}));
  EXPECT_EQ(matches(R"(\p{Punct})", "a+b。"), (Strings{"。"}));
  EXPECT_EQ(matches(R"(\p{^L})", "a1"), (Strings{"1"}));
  EXPECT_EQ(matches(R"(\p{Han}+)", "漢字、かな"), (Strings{"漢字"}));
  EXPECT_EQ(matches(R"(\p{L}+)", "a\U00031350b"), (Strings{"a\U00031350b"}));  // Unicode 15
  EXPECT_EQ(matches(R"([^\p{L}])", "a\U00031350."), (Strings{"."}));
  EXPECT_EQ(matches(R"(\w+)", "e\u0301_1 \u200D"), (Strings{"e\u0301_1"}));
}

TEST(Regex, EmptyMatchesBehindAMatchAreSkipped) {
  EXPECT_EQ(matches("x*", "axxb"), (Strings{"", "xx", ""}));
  EXPECT_EQ(matches("", "é!"), (Strings{"", "", ""}));
}

TEST(Regex, BadPatternsAreRefused) {
  for (const char* pattern : {"(", ")", "[a", "a\\", "*a", "[[:alpha:]", "(?<n", "\\p{",
                              "\\p{Nope}", "(?z)", "\\k<", "(?#", "[a&&", "\xFF", "\\u12"}) {
    EXPECT_THROW(Regex(pattern, "file.json: pre_tokenizer"), Error) << pattern;
  }
}

// Backtracking that would take for ever ends with an error.
TEST(Regex, RunawayMatchingEnds) {
  const std::string text(60, 'a');
  const Regex regex("(?:a|a)*(?:a|a)*b", "test");
  Regex::Matcher matcher(regex, text);
  Regex::Match match;
  try {
    EXPECT_FALSE(matcher.next(match));
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("matching failed"), std::string::npos);
  }
}

}  // namespace
}  // namespace tokamak

#include "text/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

#include "base/error.h"

namespace tokamak {
namespace {

TEST(StopStrings, HoldsBackWhatMayBeAStop) {
  StopStrings stops({"</end>", "STOP"});
  EXPECT_EQ(stops.push("some text <").text, "some text ");
  EXPECT_EQ(stops.push("b> S").text, "<b> ");
  const auto part = stops.push("TOP and more");
  EXPECT_EQ(part.text, "");
  EXPECT_EQ(part.stopped, 1u);
  EXPECT_EQ(stops.finish().text, "");
}

TEST(StopStrings, TheEndReturnsWhatWasHeld) {
  StopStrings stops({"abcd"});
  EXPECT_EQ(stops.push("xabc").text, "x");
  EXPECT_EQ(stops.finish().text, "abc");
}

TEST(StopStrings, OverlappingBeginnings) {
  StopStrings stops({"aab"});
  EXPECT_EQ(stops.push("aa").text, "");
  EXPECT_EQ(stops.push("a").text, "a");
  const auto part = stops.push("bX");
  EXPECT_EQ(part.text, "");
  EXPECT_EQ(part.stopped, 0u);
}

TEST(StopStrings, EmptyStopIsRefused) {
  EXPECT_THROW(StopStrings({"a", ""}), Error);
  StopStrings none({});
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.push("abc").text, "abc");
}

// However the text is cut, the text before the stop is the same: a search over the whole text.
TEST(StopStrings, EqualsASearchOverTheWholeText) {
  constexpr uint32_t kSeed = 11;
  std::mt19937 rng(kSeed);
  const auto random_text = [&](size_t least, size_t most) {
    std::string s(least + rng() % (most - least + 1), 'a');
    for (char& c : s) c = static_cast<char>('a' + rng() % 3);
    return s;
  };
  for (int run = 0; run < 20'000; ++run) {
    std::vector<std::string> stops;
    for (unsigned n = rng() % 3; n > 0; --n) stops.push_back(random_text(1, 5));
    const std::string text = random_text(0, 40);
    size_t first = std::string::npos;
    for (const auto& stop : stops) first = std::min(first, text.find(stop));

    StopStrings matcher(stops);
    std::string out;
    bool stopped = false;
    for (size_t at = 0; at < text.size() && !stopped;) {
      const size_t n = 1 + rng() % 6;
      const auto part = matcher.push(std::string_view(text).substr(at, n));
      out += part.text;
      stopped = part.stopped.has_value();
      at += n;
    }
    if (!stopped) {
      const auto rest = matcher.finish();
      out += rest.text;
      stopped = rest.stopped.has_value();
    }
    ASSERT_EQ(stopped, first != std::string::npos) << "seed " << kSeed << " run " << run;
    ASSERT_EQ(out, text.substr(0, first)) << "seed " << kSeed << " run " << run;
  }
}

}  // namespace
}  // namespace tokamak

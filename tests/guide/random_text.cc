#include "guide/random_text.h"

#include <gtest/gtest.h>

#include "guide/spec.h"

namespace tokamak::testing {
namespace {

// Tokens that close what is open.
bool closes(const std::string& bytes) {
  return bytes == "\"" || bytes == "}" || bytes == "]" || bytes == "\"}" || bytes == "]}";
}

}  // namespace

std::shared_ptr<const Guide> make_guide(const Vocabulary& v, const GuideSpec& spec) {
  return std::make_shared<const Guide>(guide::rules_of(spec), v.guide);
}

RandomText random_text(const Vocabulary& v, const std::shared_ptr<const Guide>& guide,
                       std::mt19937& random, int most_tokens) {
  RandomText out;
  GuideState state(guide);
  const auto chance = [&](int percent) { return static_cast<int>(random() % 100) < percent; };
  for (int step = 0; step < most_tokens; ++step) {
    if (state.complete() || (state.may_end() && chance(step < 20 ? 10 : 60))) {
      out.ended = true;
      break;
    }
    const auto mask = state.mask();
    std::vector<int32_t> ids = mask->ids();
    EXPECT_EQ(static_cast<int64_t>(ids.size()), mask->count());
    if (ids.empty()) {
      out.ended = state.may_end();
      EXPECT_TRUE(out.ended) << v.name << ": a dead end";
      break;
    }
    int32_t token = ids[random() % ids.size()];
    if (chance(step < 40 ? 10 : 80)) {
      std::vector<int32_t> closing;
      for (const int32_t id : ids)
        if (closes(v.guide->inside[static_cast<size_t>(id)])) closing.push_back(id);
      if (!closing.empty()) token = closing[random() % closing.size()];
    }
    EXPECT_TRUE(state.accept(token)) << v.name << ": the mask allows what the state does not";
    out.tokens.push_back(token);
  }
  out.text = v.tokenizer->decode(out.tokens, /*skip_special=*/true);
  return out;
}

}  // namespace tokamak::testing

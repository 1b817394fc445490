#include "guide/expr.h"

#include <algorithm>

namespace tokamak::guide {
namespace {

constexpr char32_t kSurrogates = 0xD800, kBehindSurrogates = 0xE000;

ExprPtr make(Expr e) { return std::make_shared<const Expr>(std::move(e)); }

}  // namespace

CharSet normalized(CharSet set) {
  CharSet split;
  for (const CharRange& r : set) {
    const char32_t last = std::min(r.last, kMaxChar);
    if (r.first < kSurrogates)
      split.push_back({r.first, std::min<char32_t>(last, kSurrogates - 1)});
    if (last >= kBehindSurrogates) split.push_back({std::max(r.first, kBehindSurrogates), last});
  }
  std::erase_if(split, [](const CharRange& r) { return r.first > r.last; });
  std::ranges::sort(split, {}, &CharRange::first);
  CharSet out;
  for (const CharRange& r : split) {
    if (!out.empty() && r.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, r.last);
    else
      out.push_back(r);
  }
  return out;
}

CharSet complement(const CharSet& set) {
  CharSet out;
  char32_t next = 0;
  for (const CharRange& r : normalized(set)) {
    if (r.first > next) out.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kMaxChar) out.push_back({next, kMaxChar});
  return normalized(std::move(out));
}

CharSet intersection(const CharSet& a, const CharSet& b) {
  CharSet out;
  for (const CharRange& x : a)
    for (const CharRange& y : b)
      out.push_back({std::max(x.first, y.first), std::min(x.last, y.last)});
  std::erase_if(out, [](const CharRange& r) { return r.first > r.last; });
  return normalized(std::move(out));
}

uint64_t count(const CharSet& set) {
  uint64_t n = 0;
  for (const CharRange& r : set) n += r.last - r.first + 1;
  return n;
}

ExprPtr empty() { return make({}); }
ExprPtr never() { return make({.kind = Expr::Kind::choice}); }
ExprPtr literal(std::string_view text) {
  return make({.kind = Expr::Kind::literal, .text = std::string(text)});
}
ExprPtr chars(CharSet set) {
  return make({.kind = Expr::Kind::chars, .set = normalized(std::move(set))});
}
ExprPtr sequence(std::vector<ExprPtr> parts) {
  if (parts.size() == 1) return parts[0];
  return make({.kind = Expr::Kind::sequence, .parts = std::move(parts)});
}
ExprPtr choice(std::vector<ExprPtr> parts) {
  if (parts.size() == 1) return parts[0];
  return make({.kind = Expr::Kind::choice, .parts = std::move(parts)});
}
ExprPtr repeat(ExprPtr part, int64_t min, int64_t max) {
  if (min == 1 && max == 1) return part;
  return make({.kind = Expr::Kind::repeat, .parts = {std::move(part)}, .min = min, .max = max});
}
ExprPtr rule(int32_t id) { return make({.kind = Expr::Kind::rule, .rule = id}); }
ExprPtr intersect(ExprPtr a, ExprPtr b) {
  return make({.kind = Expr::Kind::intersect, .parts = {std::move(a), std::move(b)}});
}
ExprPtr minus(ExprPtr a, ExprPtr b) {
  return make({.kind = Expr::Kind::minus, .parts = {std::move(a), std::move(b)}});
}
bool is_never(const Expr& e) { return e.kind == Expr::Kind::choice && e.parts.empty(); }

int32_t Rules::add(std::string name, ExprPtr expr, bool shared) {
  rules.push_back({std::move(name), std::move(expr), shared});
  return static_cast<int32_t>(rules.size()) - 1;
}

}  // namespace tokamak::guide

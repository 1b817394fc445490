#include "guide/json_number.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace tokamak::guide {
namespace {

constexpr int64_t kMostInteger = 999'999'999'999'999'999;  // 18 digits
constexpr int64_t kFraction = 15;
constexpr double kMostNumber = 999'999'999'999'999.0;

ExprPtr digit(char first, char last) {
  return chars({{static_cast<char32_t>(first), static_cast<char32_t>(last)}});
}
ExprPtr digits(int64_t min, int64_t max) { return repeat(digit('0', '9'), min, max); }

enum class Side { at_least, at_most };

// Numbers of as many digits as `bound`.
ExprPtr one_sided(const std::string& bound, Side side) {
  ExprPtr rest = empty();
  for (size_t i = bound.size(); i-- > 0;) {
    const char c = bound[i];
    std::vector<ExprPtr> ways = {sequence({literal(std::string(1, c)), rest})};
    const auto free = static_cast<int64_t>(bound.size() - i - 1);
    if (side == Side::at_least && c < '9')
      ways.push_back(sequence({digit(static_cast<char>(c + 1), '9'), digits(free, free)}));
    if (side == Side::at_most && c > '0')
      ways.push_back(sequence({digit('0', static_cast<char>(c - 1)), digits(free, free)}));
    rest = choice(std::move(ways));
  }
  return rest;
}

// low and high have equally many digits.
ExprPtr same_length(const std::string& low, const std::string& high) {
  size_t same = 0;
  while (same < low.size() && low[same] == high[same]) ++same;
  const ExprPtr head = literal(low.substr(0, same));
  if (same == low.size()) return head;
  const auto free = static_cast<int64_t>(low.size() - same - 1);
  std::vector<ExprPtr> ways = {
      sequence({literal(low.substr(same, 1)), one_sided(low.substr(same + 1), Side::at_least)}),
      sequence({literal(high.substr(same, 1)), one_sided(high.substr(same + 1), Side::at_most)})};
  if (high[same] - low[same] > 1)
    ways.push_back(
        sequence({digit(static_cast<char>(low[same] + 1), static_cast<char>(high[same] - 1)),
                  digits(free, free)}));
  return sequence({head, choice(std::move(ways))});
}

// 0 <= low; nothing when high < low.
ExprPtr natural(int64_t low, int64_t high) {
  std::vector<ExprPtr> ways;
  for (int64_t first = 0, last = 9; first <= high; first = last + 1, last = 10 * last + 9) {
    const int64_t a = std::max(low, first), b = std::min(high, last);
    if (a <= b) ways.push_back(same_length(std::to_string(a), std::to_string(b)));
    if (last >= kMostInteger) break;
  }
  return choice(std::move(ways));
}

ExprPtr integers(int64_t low, int64_t high) {
  std::vector<ExprPtr> ways;
  if (low < 0) {
    const ExprPtr below = natural(std::max<int64_t>(1, -std::min<int64_t>(high, -1)), -low);
    ways.push_back(sequence({literal("-"), below}));
  }
  if (high >= 0) ways.push_back(natural(std::max<int64_t>(0, low), high));
  return choice(std::move(ways));
}

// A bound without sign as text: digits before the point, and behind it without zeros at the end.
struct Decimal {
  int64_t whole = 0;
  std::string fraction;
};

// Not exact beyond 12 places: then the next one outwards (`up`) or inwards of the true bound.
Decimal decimal(double value, bool up, bool& exact) {
  std::string text = fmt::format("{:.12f}", value);
  const size_t point = text.size() - 13;
  Decimal d{std::stoll(text.substr(0, point)), text.substr(point + 1)};
  const double back = std::stod(text);
  exact = back == value;
  auto steps = std::stoll(d.fraction);
  if (up && back < value) ++steps;
  if (!up && back > value) --steps;
  constexpr int64_t kWhole = 1'000'000'000'000;
  if (steps == kWhole) ++d.whole, steps = 0;
  if (steps < 0) --d.whole, steps = kWhole - 1;
  d.fraction = fmt::format("{:012d}", steps);
  while (!d.fraction.empty() && d.fraction.back() == '0') d.fraction.pop_back();
  return d;
}

ExprPtr any_fraction() { return repeat(sequence({literal("."), digits(1, kFraction)}), 0, 1); }
ExprPtr zeros(int64_t min) { return repeat(literal("0"), min, kFraction); }

ExprPtr equal_to(const Decimal& d) {
  const ExprPtr whole = literal(std::to_string(d.whole));
  if (d.fraction.empty())
    return sequence({whole, repeat(sequence({literal("."), zeros(1)}), 0, 1)});
  return sequence({whole, literal(fmt::format(".{}", d.fraction)), zeros(0)});
}

// Texts without sign that are at least, or at most, d.
ExprPtr beyond(const Decimal& d, Side side) {
  const ExprPtr whole = literal(std::to_string(d.whole));
  std::vector<ExprPtr> same;  // behind the same whole number
  for (size_t i = 0; i < d.fraction.size(); ++i) {
    const char c = d.fraction[i];
    const ExprPtr head = literal(fmt::format(".{}", d.fraction.substr(0, i)));
    if (side == Side::at_least && c < '9')
      same.push_back(sequence({head, digit(static_cast<char>(c + 1), '9'), digits(0, kFraction)}));
    if (side == Side::at_most && c > '0')
      same.push_back(sequence({head, digit('0', static_cast<char>(c - 1)), digits(0, kFraction)}));
    if (side == Side::at_most) same.push_back(i == 0 ? empty() : head);
  }
  if (side == Side::at_least && d.fraction.empty()) same.push_back(any_fraction());
  const ExprPtr others = side == Side::at_least
                             ? natural(d.whole + 1, static_cast<int64_t>(kMostNumber))
                             : natural(0, d.whole - 1);
  return choice({sequence({others, any_fraction()}), sequence({whole, choice(std::move(same))}),
                 equal_to(d)});
}

// Texts without sign from low to high (both >= 0).
ExprPtr magnitudes(double low, bool above, double high, bool below) {
  bool exact = true;
  const Decimal a = decimal(low, true, exact);
  ExprPtr e = beyond(a, Side::at_least);
  if (above && exact) e = minus(e, equal_to(a));
  const Decimal b = decimal(high, false, exact);
  e = intersect(e, beyond(b, Side::at_most));
  if (below && exact) e = minus(e, equal_to(b));
  return e;
}

}  // namespace

ExprPtr any_integer() {
  return sequence({repeat(literal("-"), 0, 1),
                   choice({literal("0"), sequence({digit('1', '9'), digits(0, 17)})})});
}

ExprPtr any_number() {
  const ExprPtr exponent = sequence({chars({{'e', 'e'}, {'E', 'E'}}),
                                     repeat(chars({{'+', '+'}, {'-', '-'}}), 0, 1), digits(1, 2)});
  return sequence({any_integer(), any_fraction(), repeat(exponent, 0, 1)});
}

ExprPtr bounded_integer(const NumberBounds& b, const std::string& where) {
  const auto limit = [](double d) {
    constexpr auto kMost = static_cast<double>(kMostInteger);
    return d <= -kMost ? -kMostInteger : d >= kMost ? kMostInteger : static_cast<int64_t>(d);
  };
  int64_t low = -kMostInteger, high = kMostInteger;
  if (b.least)
    low = limit(std::ceil(*b.least)) + (b.above_least && std::ceil(*b.least) == *b.least);
  if (b.most) high = limit(std::floor(*b.most)) - (b.below_most && std::floor(*b.most) == *b.most);
  if (low > high) fail("{}: no integer lies between the bounds", where);
  return integers(low, high);
}

ExprPtr bounded_number(const NumberBounds& b, const std::string& where) {
  const double low = b.least.value_or(-kMostNumber), high = b.most.value_or(kMostNumber);
  if (std::abs(low) > kMostNumber || std::abs(high) > kMostNumber)
    fail("{}: bounds of numbers are supported up to {}", where, kMostNumber);
  if (low > high || (low == high && (b.above_least || b.below_most)))
    fail("{}: no number lies between the bounds", where);
  std::vector<ExprPtr> ways;
  if (low < 0)
    ways.push_back(
        sequence({literal("-"), magnitudes(std::max(0.0, -high),
                                           high < 0 ? b.below_most : high == 0 && b.below_most,
                                           -low, b.above_least)}));
  if (high >= 0)
    ways.push_back(magnitudes(std::max(0.0, low), low >= 0 && b.above_least, high, b.below_most));
  return choice(std::move(ways));
}

}  // namespace tokamak::guide

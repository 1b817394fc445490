// Python's arithmetic. Integers have 64 bits: what leaves them is an error, not a wrong number.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

[[noreturn]] void overflow() { raise("an integer does not fit in 64 bits"); }

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) raise("zero cannot be raised to a negative power");
    return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  int64_t result = 1;
  for (;;) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
    exponent >>= 1;
    if (exponent == 0) return Value::integer(result);
    if (__builtin_mul_overflow(base, base, &base)) {
      // A base of 0, 1 or -1 never gets here, so the result would not fit either.
      overflow();
    }
  }
}

int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0) raise("division by zero");
  if (b == -1) {
    if (a == INT64_MIN) overflow();
    return -a;
  }
  const int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

Value integers(BinaryOp op, int64_t a, int64_t b) {
  int64_t r = 0;
  switch (op) {
    case BinaryOp::kAdd:
      if (__builtin_add_overflow(a, b, &r)) overflow();
      return Value::integer(r);
    case BinaryOp::kSub:
      if (__builtin_sub_overflow(a, b, &r)) overflow();
      return Value::integer(r);
    case BinaryOp::kMul:
      if (__builtin_mul_overflow(a, b, &r)) overflow();
      return Value::integer(r);
    case BinaryOp::kDiv:
      if (b == 0) raise("division by zero");
      return Value::real(static_cast<double>(static_cast<long double>(a) / b));
    case BinaryOp::kFloorDiv:
      return Value::integer(floor_div(a, b));
    case BinaryOp::kMod:
      if (b == -1) return Value::integer(0);
      return Value::integer(a - floor_div(a, b) * b);
    case BinaryOp::kPow:
      return integer_power(a, b);
  }
  return {};
}

double float_mod(double a, double b) {
  if (b == 0) raise("modulo by zero");
  double r = std::fmod(a, b);
  if (r != 0) {
    if ((b < 0) != (r < 0)) r += b;
  } else {
    r = std::copysign(0.0, b);
  }
  return r;
}

double float_floor_div(double a, double b) {
  if (b == 0) raise("division by zero");
  const double r = std::fmod(a, b);
  double q = (a - r) / b;
  if (r != 0 && (b < 0) != (r < 0)) q -= 1;
  if (q == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(q);
  return q - whole > 0.5 ? whole + 1 : whole;
}

Value floats(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value::real(a + b);
    case BinaryOp::kSub:
      return Value::real(a - b);
    case BinaryOp::kMul:
      return Value::real(a * b);
    case BinaryOp::kDiv:
      if (b == 0) raise("division by zero");
      return Value::real(a / b);
    case BinaryOp::kFloorDiv:
      return Value::real(float_floor_div(a, b));
    case BinaryOp::kMod:
      return Value::real(float_mod(a, b));
    case BinaryOp::kPow:
      break;
  }
  if (a == 0 && b < 0) raise("zero cannot be raised to a negative power");
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b))
    raise("a negative number to a fractional power is complex");
  const double r = std::pow(a, b);
  if (std::isinf(r) && std::isfinite(a) && std::isfinite(b))
    raise("a power is too large for a float");
  return Value::real(r);
}

Value repeat(Heap& heap, const Value& sequence, int64_t count) {
  const auto n = static_cast<size_t>(std::max<int64_t>(count, 0));
  if (sequence.is_string()) {
    const std::string& text = sequence.text();
    heap.check_size(n, text.size());
    heap.tick(n * text.size() / 64);
    std::string out;
    out.reserve(n * text.size());
    if (!text.empty())
      for (size_t i = 0; i < n; ++i) out += text;
    return make_string(heap, std::move(out), sequence.string().markup);
  }
  const auto& items = sequence.list().items;
  heap.check_size(n, items.size() * sizeof(Value));
  heap.tick(n * items.size());
  std::vector<Value> out;
  out.reserve(n * items.size());
  if (!items.empty())
    for (size_t i = 0; i < n; ++i) out.insert(out.end(), items.begin(), items.end());
  return sequence.is(Kind::kList) ? make_list(heap, std::move(out))
                                  : make_tuple(heap, std::move(out));
}

// Concatenation; where one side is marked safe, the other is escaped.
Value concatenate(Heap& heap, const Value& a, const Value& b) {
  const bool markup = a.string().markup || b.string().markup;
  const auto side = [&](const Value& v) {
    return markup && !v.string().markup ? escape_html(v.text()) : v.text();
  };
  heap.tick((a.text().size() + b.text().size()) / 64);
  heap.check_size(a.text().size() + b.text().size(), 1);
  return make_string(heap, side(a) + side(b), markup);
}

Value join_lists(Heap& heap, const Value& a, const Value& b) {
  std::vector<Value> out = a.list().items;
  const auto& more = b.list().items;
  heap.tick((out.size() + more.size()) / 4);
  heap.check_size(out.size() + more.size(), sizeof(Value));
  out.insert(out.end(), more.begin(), more.end());
  return a.is(Kind::kList) ? make_list(heap, std::move(out)) : make_tuple(heap, std::move(out));
}

bool is_sequence(const Value& v) {
  return v.is_string() || v.is(Kind::kList) || v.is(Kind::kTuple);
}

const char* symbol(BinaryOp op) {
  static constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  return kSymbols[static_cast<size_t>(op)];
}

}  // namespace

Value binary(Heap& heap, BinaryOp op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return integers(op, a.as_int(), b.as_int());
  if (a.is_number() && b.is_number()) return floats(op, a.as_double(), b.as_double());
  if (op == BinaryOp::kMod && a.is_string())
    return make_string(heap, format_percent(heap, a.text(), b), a.string().markup);
  if (a.is_undefined()) undefined_used(a);
  if (b.is_undefined()) undefined_used(b);
  if (op == BinaryOp::kMul) {
    if (is_sequence(a) && b.is_integral()) return repeat(heap, a, b.as_int());
    if (is_sequence(b) && a.is_integral()) return repeat(heap, b, a.as_int());
  }
  if (op == BinaryOp::kAdd && a.kind() == b.kind()) {
    if (a.is_string()) return concatenate(heap, a, b);
    if (is_sequence(a)) return join_lists(heap, a, b);
  }
  raise("'{}' cannot join {} and {}", symbol(op), type_name(a), type_name(b));
}

Value negate(const Value& v) {
  if (v.is(Kind::kFloat)) return Value::real(-v.as_double());
  if (v.is_integral()) return integers(BinaryOp::kSub, 0, v.as_int());
  if (v.is_undefined()) undefined_used(v);
  raise("a {} has no negative", type_name(v));
}

Value positive(const Value& v) {
  if (v.is(Kind::kFloat)) return v;
  if (v.is_integral()) return Value::integer(v.as_int());
  if (v.is_undefined()) undefined_used(v);
  raise("unary plus does not apply to {}", type_name(v));
}

namespace {

std::string_view stripped(std::string_view text) {
  text.remove_prefix(leading_space(text));
  text.remove_suffix(trailing_space(text));
  return text;
}

// Removes underscores between digits; nothing when one stands elsewhere.
std::optional<std::string> without_underscores(std::string_view text) {
  std::string out;
  const auto digit = [&](size_t i) {
    return i < text.size() && std::isxdigit(static_cast<unsigned char>(text[i]));
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || !digit(i - 1) || !digit(i + 1)) {
      return std::nullopt;
    }
  }
  return out;
}

int64_t prefixed_base(std::string_view text) {
  if (text.size() < 2 || text[0] != '0') return 0;
  switch (text[1] | 0x20) {
    case 'x':
      return 16;
    case 'o':
      return 8;
    case 'b':
      return 2;
    default:
      return 0;
  }
}

}  // namespace

std::optional<int64_t> parse_int(std::string_view text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::nullopt;
  text = stripped(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const int64_t prefix = prefixed_base(text);
  if (prefix != 0 && (base == 0 || base == prefix)) {
    text.remove_prefix(2);
    if (!text.empty() && text[0] == '_') text.remove_prefix(1);
    base = prefix;
  }
  if (base == 0) {
    if (text.size() > 1 && text[0] == '0' && text.find_first_not_of("0_") != std::string_view::npos)
      return std::nullopt;
    base = 10;
  }
  const auto digits = without_underscores(text);
  if (!digits || digits->empty() || (*digits)[0] == '-') return std::nullopt;
  uint64_t magnitude = 0;
  const char* end = digits->data() + digits->size();
  const auto [stop, error] =
      std::from_chars(digits->data(), end, magnitude, static_cast<int>(base));
  if (stop != end) return std::nullopt;
  if (error == std::errc::result_out_of_range ||
      magnitude > (uint64_t{1} << 63) - (negative ? 0 : 1))
    overflow();
  return static_cast<int64_t>(negative ? 0 - magnitude : magnitude);
}

std::optional<double> parse_float(std::string_view text) {
  const auto digits = without_underscores(stripped(text));
  if (!digits || digits->empty()) return std::nullopt;
  for (char c : *digits)
    if (c == 'x' || c == 'X' || c == 'p' || c == 'P' || c == '(' || c == '\0') return std::nullopt;
  if (std::isspace(static_cast<unsigned char>(digits->front()))) return std::nullopt;
  char* end = nullptr;
  const double d = std::strtod(digits->c_str(), &end);
  if (end != digits->c_str() + digits->size()) return std::nullopt;
  return d;
}

int64_t float_to_int(double d) {
  if (std::isnan(d)) raise("cannot convert float NaN to integer");
  d = std::trunc(d);
  if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0)) overflow();
  return static_cast<int64_t>(d);
}

}  // namespace tokamak::jinja

// Filters on numbers, and conversions to them.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/params.h"

namespace tokamak::jinja {

namespace {

Value absolute(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "abs", args, {});
  if (v.is(Kind::kFloat)) return Value::real(std::fabs(v.as_double()));
  if (!v.is_integral()) raise("abs needs a number, not {}", type_name(v));
  return v.as_int() < 0 ? negate(v) : positive(v);
}

// int(default=0, base=10): "42.9" is 42, what is no number is the default.
Value to_int(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "int", args, {"default", "base"});
  const Value otherwise = p.given(0) ? p[0] : Value::integer(0);
  if (v.is_undefined()) undefined_used(v);
  if (v.is_integral()) return positive(v);
  if (v.is(Kind::kFloat))
    return std::isnan(v.as_double()) ? otherwise : Value::integer(float_to_int(v.as_double()));
  if (!v.is_string()) return otherwise;
  if (const auto i = parse_int(v.text(), p.integer(1, 10))) return Value::integer(*i);
  const auto d = parse_float(v.text());
  if (!d || !std::isfinite(*d)) return otherwise;
  return Value::integer(float_to_int(*d));
}

Value to_float(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "float", args, {"default"});
  const Value otherwise = p.given(0) ? p[0] : Value::real(0);
  if (v.is_undefined()) undefined_used(v);
  if (v.is_number()) return Value::real(v.as_double());
  if (!v.is_string()) return otherwise;
  const auto d = parse_float(v.text());
  return d ? Value::real(*d) : otherwise;
}

// Python's round: correct for the decimal digits of the exact binary value, halves to even.
Value round_common(const Value& v, int64_t precision) {
  if (v.is_integral()) {
    if (precision >= 0) return positive(v);
    if (precision < -18) return Value::integer(0);
    __int128 unit = 1;
    for (int64_t i = 0; i < -precision; ++i) unit *= 10;
    const __int128 i = v.as_int();
    __int128 down = i / unit - ((i % unit < 0) ? 1 : 0);
    const __int128 twice = 2 * (i - down * unit);
    if (twice > unit || (twice == unit && down % 2 != 0)) ++down;
    const __int128 result = down * unit;
    if (result > INT64_MAX || result < INT64_MIN) raise("an integer does not fit in 64 bits");
    return Value::integer(static_cast<int64_t>(result));
  }
  const double d = v.as_double();
  if (!std::isfinite(d) || precision > 323) return v;
  if (precision < -308) return Value::real(std::copysign(0.0, d));
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return Value::real(std::nearbyint(d / unit) * unit);
  }
  char buffer[700];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), d);
  return Value::real(std::strtod(buffer, nullptr));
}

// round(precision=0, method='common'|'ceil'|'floor')
Value round_filter(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "round", args, {"precision", "method"});
  const std::string method = p.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor")
    raise("round: method must be common, ceil or floor, not '{}'", method);
  if (v.is_undefined()) undefined_used(v);
  if (!v.is_number()) raise("round needs a number, not {}", type_name(v));
  const int64_t precision = p[0].is_none() && p.given(0) ? 0 : p.integer(0, 0);
  if (method == "common") {
    if (p.given(0) && p[0].is_none() && v.is(Kind::kFloat))
      return Value::integer(float_to_int(std::nearbyint(v.as_double())));
    return round_common(v, precision);
  }
  Heap& heap = e.heap();
  const Value unit = binary(heap, BinaryOp::kPow, Value::integer(10), Value::integer(precision));
  const Value scaled = binary(heap, BinaryOp::kMul, v, unit);
  Value whole = scaled;
  if (scaled.is(Kind::kFloat))
    whole = Value::integer(float_to_int(method == "ceil" ? std::ceil(scaled.as_double())
                                                         : std::floor(scaled.as_double())));
  return binary(heap, BinaryOp::kDiv, whole, unit);
}

// filesizeformat(binary=False)
Value file_size(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "filesizeformat", args, {"binary"});
  double bytes = 0;
  if (v.is_number())
    bytes = v.as_double();
  else if (v.is_string())
    bytes = parse_float(v.text()).value_or(std::nan(""));
  else
    raise("filesizeformat needs a number, not {}", type_name(v));
  if (std::isnan(bytes)) raise("filesizeformat needs a number");
  const bool binary_units = p.boolean(0, false);
  const double base = binary_units ? 1024 : 1000;
  static constexpr const char* kUnits[2][8] = {
      {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
      {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}};
  if (bytes == 1) return e.string("1 Byte");
  if (bytes < base) return e.string(fmt::format("{} Bytes", float_to_int(bytes)));
  double unit = base * base;
  for (int i = 0;; ++i, unit *= base)
    if (bytes < unit || i == 7)
      return e.string(fmt::format("{:.1f} {}", base * bytes / unit, kUnits[binary_units][i]));
}

constexpr FilterEntry kFilters[] = {
    {"abs", absolute},
    {"int", to_int},
    {"float", to_float},
    {"round", round_filter},
    {"filesizeformat", file_size},
};

}  // namespace

std::span<const FilterEntry> number_filters() { return kFilters; }

}  // namespace tokamak::jinja

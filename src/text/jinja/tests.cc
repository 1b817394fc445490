// The tests of `is`.
#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/format.h"
#include "text/jinja/params.h"

namespace tokamak::jinja {

namespace {

template <bool (*kPredicate)(const Value&)>
bool simple(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "this test", args, {});
  return kPredicate(v);
}

bool defined(const Value& v) { return !v.is_undefined(); }
bool undefined(const Value& v) { return v.is_undefined(); }
bool none(const Value& v) { return v.is_none(); }
bool boolean(const Value& v) { return v.is(Kind::kBool); }
bool is_true(const Value& v) { return v.is(Kind::kBool) && v.as_bool(); }
bool is_false(const Value& v) { return v.is(Kind::kBool) && !v.as_bool(); }
bool integer(const Value& v) { return v.is(Kind::kInt); }
bool floating(const Value& v) { return v.is(Kind::kFloat); }
bool number(const Value& v) { return v.is_number(); }
bool string(const Value& v) { return v.is_string(); }
bool mapping(const Value& v) { return v.is(Kind::kDict); }
bool escaped(const Value& v) { return v.is_string() && v.string().markup; }
// What has a length and can be indexed.
bool sequence(const Value& v) {
  return length(v).has_value() && !v.is(Kind::kDictView) && !v.is(Kind::kLoop);
}
// Undefined and loop have a __call__ in Jinja.
bool callable(const Value& v) {
  return v.is(Kind::kCallable) || v.is_undefined() || v.is(Kind::kLoop);
}

template <bool kUpper>
bool is_case(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "this test", args, {});
  return text_is_case(e.text(v), kUpper);
}

bool modulo_is(Evaluator& e, const Value& v, const Value& divisor, int64_t remainder) {
  const Value r = binary(e.heap(), BinaryOp::kMod, v, divisor);
  return equal(e.heap(), r, Value::integer(remainder));
}
bool odd(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "odd", args, {});
  return modulo_is(e, v, Value::integer(2), 1);
}
bool even(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "even", args, {});
  return modulo_is(e, v, Value::integer(2), 0);
}
bool divisible_by(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "divisibleby", args, {"num"}, 1);
  return modulo_is(e, v, p[0], 0);
}

template <CompareOp kOp>
bool compares(Evaluator& e, const Value& v, Arguments& args) {
  no_keywords("this test", args);
  const Params p(e.heap(), "this test", args, {"other"}, 1);
  return compare(e.heap(), kOp, v, p[0]);
}

bool in(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "in", args, {"seq"}, 1);
  return contains(e.heap(), p[0], v);
}

// Python's `is`: the same object; scalars are the same when kind and value are.
bool same_as(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "sameas", args, {"other"}, 1);
  if (v.kind() != p[0].kind()) return false;
  if (v.is_none()) return true;
  if (v.is_number()) return v.as_double() == p[0].as_double();
  if (v.is_string()) return v.text() == p[0].text();
  return v.object() == p[0].object();
}

bool iterable_test(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "iterable", args, {});
  return iterable(v);
}
bool is_filter(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "filter", args, {});
  return v.is_string() && filter_exists(v.text());
}
bool is_test(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "test", args, {});
  return v.is_string() && test_exists(v.text());
}

constexpr TestEntry kTests[] = {
    {"defined", simple<defined>},
    {"undefined", simple<undefined>},
    {"none", simple<none>},
    {"boolean", simple<boolean>},
    {"true", simple<is_true>},
    {"false", simple<is_false>},
    {"integer", simple<integer>},
    {"float", simple<floating>},
    {"number", simple<number>},
    {"string", simple<string>},
    {"mapping", simple<mapping>},
    {"sequence", simple<sequence>},
    {"callable", simple<callable>},
    {"escaped", simple<escaped>},
    {"iterable", iterable_test},
    {"lower", is_case<false>},
    {"upper", is_case<true>},
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisible_by},
    {"sameas", same_as},
    {"in", in},
    {"filter", is_filter},
    {"test", is_test},
    {"eq", compares<CompareOp::kEq>},
    {"equalto", compares<CompareOp::kEq>},
    {"==", compares<CompareOp::kEq>},
    {"ne", compares<CompareOp::kNe>},
    {"!=", compares<CompareOp::kNe>},
    {"lt", compares<CompareOp::kLt>},
    {"lessthan", compares<CompareOp::kLt>},
    {"<", compares<CompareOp::kLt>},
    {"le", compares<CompareOp::kLe>},
    {"<=", compares<CompareOp::kLe>},
    {"gt", compares<CompareOp::kGt>},
    {"greaterthan", compares<CompareOp::kGt>},
    {">", compares<CompareOp::kGt>},
    {"ge", compares<CompareOp::kGe>},
    {">=", compares<CompareOp::kGe>},
};

}  // namespace

std::span<const TestEntry> all_tests() { return kTests; }

}  // namespace tokamak::jinja

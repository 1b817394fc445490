// Methods of dicts, lists, tuples, ranges, floats, loops and cyclers.
#include <algorithm>
#include <cmath>

#include "text/jinja/evaluator.h"
#include "text/jinja/loop.h"
#include "text/jinja/params.h"

namespace tokamak::jinja {

namespace {

Value view(Heap& heap, const Value& self, Arguments& args, const char* name, ViewKind kind) {
  Params(heap, name, args, {});
  return Value(Kind::kDictView, std::make_shared<ViewObject>(heap, self, kind));
}
Value dict_keys(Heap& h, const Value& s, Arguments& a) {
  return view(h, s, a, "keys", ViewKind::kKeys);
}
Value dict_values(Heap& h, const Value& s, Arguments& a) {
  return view(h, s, a, "values", ViewKind::kValues);
}
Value dict_items(Heap& h, const Value& s, Arguments& a) {
  return view(h, s, a, "items", ViewKind::kItems);
}

Value dict_get(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("get", args);
  const Params p(heap, "get", args, {"key", "default"}, 1);
  const Value* found = self.dict().find(p[0]);
  return found ? *found : p[1];
}

Value copy(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "copy", args, {});
  return self;  // values never change, so sharing is copying
}

Value dict_fromkeys(Heap& heap, const Value&, Arguments& args) {
  no_keywords("fromkeys", args);
  const Params p(heap, "fromkeys", args, {"keys", "value"}, 1);
  DictBuilder dict(heap);
  for (const Value& key : to_vector(heap, p[0])) dict.set(key, p[1]);
  return dict.take();
}

Value count(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("count", args);
  const Params p(heap, "count", args, {"value"}, 1);
  int64_t n = 0;
  for (const Value& v : to_vector(heap, self)) n += equal(heap, v, p[0]);
  return Value::integer(n);
}

Value index(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("index", args);
  const Params p(heap, "index", args, {"value", "start", "stop"}, 1);
  const std::vector<Value> items = to_vector(heap, self);
  const auto n = static_cast<int64_t>(items.size());
  const auto clamp = [n](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + n : i, 0, n); };
  const int64_t stop = clamp(p.integer(2, n));
  for (int64_t i = clamp(p.integer(1, 0)); i < stop; ++i)
    if (equal(heap, items[static_cast<size_t>(i)], p[0])) return Value::integer(i);
  raise("the value is not in the {}", type_name(self));
}

Value is_integer(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "is_integer", args, {});
  const double d = self.as_double();
  return Value::boolean(std::isfinite(d) && d == std::floor(d));
}

Value bit_length(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "bit_length", args, {});
  const int64_t i = self.as_int();
  uint64_t magnitude = i < 0 ? 0 - static_cast<uint64_t>(i) : static_cast<uint64_t>(i);
  int64_t bits = 0;
  for (; magnitude; magnitude >>= 1) ++bits;
  return Value::integer(bits);
}

Value loop_cycle(Heap&, const Value& self, Arguments& args) {
  no_keywords("cycle", args);
  return self.loop().cycle(args);
}
Value loop_changed(Heap&, const Value& self, Arguments& args) {
  no_keywords("changed", args);
  return Value::boolean(self.loop().changed(args.positional));
}

Value cycler_next(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "next", args, {});
  auto& c = self.cycler();
  Value v = c.items[c.position];
  c.position = (c.position + 1) % c.items.size();
  return v;
}
Value cycler_reset(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "reset", args, {});
  self.cycler().position = 0;
  return {};
}

struct Entry {
  Kind kind;
  std::string_view name;
  Method method;
};

constexpr Entry kMethods[] = {
    {Kind::kDict, "get", dict_get},
    {Kind::kDict, "items", dict_items},
    {Kind::kDict, "keys", dict_keys},
    {Kind::kDict, "values", dict_values},
    {Kind::kDict, "copy", copy},
    {Kind::kDict, "fromkeys", dict_fromkeys},
    {Kind::kList, "copy", copy},
    {Kind::kList, "count", count},
    {Kind::kList, "index", index},
    {Kind::kTuple, "count", count},
    {Kind::kTuple, "index", index},
    {Kind::kRange, "count", count},
    {Kind::kRange, "index", index},
    {Kind::kFloat, "is_integer", is_integer},
    {Kind::kInt, "bit_length", bit_length},
    {Kind::kBool, "bit_length", bit_length},
    {Kind::kLoop, "cycle", loop_cycle},
    {Kind::kLoop, "changed", loop_changed},
    {Kind::kCycler, "next", cycler_next},
    {Kind::kCycler, "reset", cycler_reset},
};

}  // namespace

Method find_container_method(Kind kind, std::string_view name) {
  for (const Entry& e : kMethods)
    if (e.kind == kind && e.name == name) return e.method;
  return nullptr;
}

}  // namespace tokamak::jinja

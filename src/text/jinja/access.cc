// obj.name, obj[key] and slices.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/loop.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Methods that would change the object: the sandbox hides them.
bool mutates(Kind kind, std::string_view name) {
  if (kind == Kind::kList)
    return one_of(name,
                  {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"});
  return kind == Kind::kDict && one_of(name, {"clear", "pop", "popitem", "setdefault", "update"});
}

std::optional<Value> number_attribute(const Value& v, std::string_view name) {
  const bool is_float = v.is(Kind::kFloat);
  if (name == "real" || (name == "numerator" && !is_float))
    return is_float ? v : Value::integer(v.as_int());
  if (name == "imag") return is_float ? Value::real(0) : Value::integer(0);
  if (name == "denominator" && !is_float) return Value::integer(1);
  return std::nullopt;
}

std::optional<Value> range_attribute(const RangeObject& r, std::string_view name) {
  if (name == "start") return Value::integer(r.start);
  if (name == "stop") return Value::integer(r.stop);
  if (name == "step") return Value::integer(r.step);
  return std::nullopt;
}

// What Python's getattr finds, apart from methods.
std::optional<Value> own_attribute(const Value& v, std::string_view name) {
  switch (v.kind()) {
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      return number_attribute(v, name);
    case Kind::kRange:
      return range_attribute(v.range(), name);
    case Kind::kTuple:
      if (v.list().group && name == "grouper") return v.list().items[0];
      if (v.list().group && name == "list") return v.list().items[1];
      return std::nullopt;
    case Kind::kNamespace:
      if (const Value* found = v.ns().find(name)) return *found;
      return std::nullopt;
    case Kind::kLoop:
      if (v.loop().has_attribute(name)) return v.loop().attribute(name);
      return std::nullopt;
    case Kind::kCycler:
      if (name == "current") return v.cycler().items[v.cycler().position];
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<Value> python_attribute(Heap& heap, const Value& v, std::string_view name) {
  if (mutates(v.kind(), name))
    return make_undefined(
        heap, fmt::format("'{}' of a {} is not available: templates cannot change values", name,
                          type_name(v)));
  if (auto own = own_attribute(v, name)) return own;
  if (const Method method = find_method(v, name))
    return make_callable(
        heap, fmt::format("<built-in method {} of {} object>", name, type_name(v)),
        [method, v, &heap](Arguments& args) { return method(heap, v, args); }, nesting(v) + 1);
  return std::nullopt;
}

Value element(Heap& heap, const StringObject& s, size_t i) {
  if (s.ascii()) return make_string(heap, s.text.substr(i, 1), s.markup);
  heap.tick(s.text.size() / 64);
  const size_t start = byte_offset(s.text, i);
  size_t end = start;
  next_code(s.text, end);
  return make_string(heap, s.text.substr(start, end - start), s.markup);
}

// obj[i] of a sequence; nothing when it is out of range.
std::optional<Value> element(Heap& heap, const Value& v, int64_t i) {
  const auto n = static_cast<int64_t>(*length(v));
  if (i < 0) i += n;
  if (i < 0 || i >= n) return std::nullopt;
  const auto at = static_cast<size_t>(i);
  if (v.is_string()) return element(heap, v.string(), at);
  if (v.is(Kind::kRange)) return v.range().at(at);
  return v.list().items[at];
}

bool is_indexed(const Value& v) {
  return v.is_string() || v.is(Kind::kList) || v.is(Kind::kTuple) || v.is(Kind::kRange);
}

bool hashable(Heap& heap, const Value& v) {
  try {
    hash_value(heap, v);
    return true;
  } catch (const Failure&) {
    return false;
  }
}

}  // namespace

Method find_method(const Value& self, std::string_view name) {
  if (self.is_string()) return find_string_method(name);
  return find_container_method(self.kind(), name);
}

Value get_attribute(Heap& heap, const Value& v, std::string_view name) {
  if (v.is_undefined()) undefined_used(v);
  if (auto found = python_attribute(heap, v, name)) return *found;
  if (v.is(Kind::kDict))
    if (const Value* found = v.dict().find(name)) return *found;
  return make_undefined(heap, fmt::format("'{}' has no attribute '{}'", type_name(v), name));
}

Value get_item(Heap& heap, const Value& v, const Value& key) {
  if (v.is_undefined()) undefined_used(v);
  if (v.is(Kind::kDict)) {
    if (hashable(heap, key))
      if (const Value* found = v.dict().find(key)) return *found;
  } else if (is_indexed(v) && key.is_integral()) {
    if (auto found = element(heap, v, key.as_int())) return *found;
  }
  if (key.is_string())
    if (auto found = python_attribute(heap, v, key.text())) return *found;
  std::string shown;
  append_repr(heap, shown, key);
  if (shown.size() > 200) shown = "<a long key>";
  return make_undefined(heap, fmt::format("'{}' has no element {}", type_name(v), shown));
}

namespace {

// The indices a slice takes of n elements, as slice.indices of Python gives them.
struct SliceRange {
  int64_t start, stop, step;
  size_t count;
};

std::optional<int64_t> slice_index(const Value& v) {
  if (v.is_none()) return std::nullopt;
  if (v.is_undefined()) undefined_used(v);
  if (!v.is_integral()) raise("slice indices must be integers, not {}", type_name(v));
  return v.as_int();
}

SliceRange resolve(const Value& start, const Value& stop, const Value& step, int64_t n) {
  const int64_t s = slice_index(step).value_or(1);
  if (s == 0) raise("a slice cannot have step 0");
  const int64_t low = s > 0 ? 0 : -1, high = s > 0 ? n : n - 1;
  const auto clamp = [&](std::optional<int64_t> i, int64_t otherwise) {
    if (!i) return otherwise;
    if (*i < 0) return std::max(low, *i + n);
    return std::min(high, *i);
  };
  const int64_t first = clamp(slice_index(start), s > 0 ? low : high);
  const int64_t last = clamp(slice_index(stop), s > 0 ? high : low);
  if (s > 0 ? first >= last : first <= last) return {first, last, s, 0};
  const auto span = static_cast<uint64_t>(s > 0 ? last - first : first - last);
  const uint64_t stride = s > 0 ? static_cast<uint64_t>(s) : 0 - static_cast<uint64_t>(s);
  return {first, last, s, (span - 1) / stride + 1};
}

Value slice_string(Heap& heap, const StringObject& s, const SliceRange& r) {
  heap.tick(s.text.size() / 64 + r.count / 16);
  std::string out;
  if (s.ascii() && r.step == 1) {
    out = s.text.substr(static_cast<size_t>(r.start), r.count);
  } else if (r.count > 0) {
    const std::u32string codes = decode_utf8(s.text);
    for (size_t i = 0; i < r.count; ++i)
      append_utf8(out, codes[static_cast<size_t>(r.start + static_cast<int64_t>(i) * r.step)]);
  }
  return make_string(heap, std::move(out), s.markup);
}

}  // namespace

Value get_slice(Heap& heap, const Value& v, const Value& start, const Value& stop,
                const Value& step) {
  if (v.is_undefined()) undefined_used(v);
  if (!is_indexed(v)) raise("a {} cannot be sliced", type_name(v));
  const SliceRange r = resolve(start, stop, step, static_cast<int64_t>(*length(v)));
  if (v.is_string()) return slice_string(heap, v.string(), r);
  if (v.is(Kind::kRange)) {
    const RangeObject& range = v.range();
    const auto at = [&](int64_t i) {
      int64_t v = 0;
      if (__builtin_mul_overflow(i, range.step, &v) || __builtin_add_overflow(v, range.start, &v))
        raise("an integer does not fit in 64 bits");
      return v;
    };
    int64_t stride = 0;
    if (__builtin_mul_overflow(range.step, r.step, &stride))
      raise("an integer does not fit in 64 bits");
    return Value(Kind::kRange,
                 std::make_shared<RangeObject>(heap, at(r.start), at(r.stop), stride));
  }
  heap.tick(r.count / 4);
  std::vector<Value> out;
  out.reserve(r.count);
  for (size_t i = 0; i < r.count; ++i)
    out.push_back(v.list().items[static_cast<size_t>(r.start + static_cast<int64_t>(i) * r.step)]);
  return v.is(Kind::kList) ? make_list(heap, std::move(out)) : make_tuple(heap, std::move(out));
}

}  // namespace tokamak::jinja

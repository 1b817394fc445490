// Truth, equality, order, hashing and iteration.
#include "text/jinja/operators.h"

#include <cmath>

#include "text/jinja/loop.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

std::string type_name(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      return "list";
    case Kind::kTuple:
      return "tuple";
    case Kind::kDict:
      return "dict";
    case Kind::kDictView: {
      const ViewKind kind = v.view().kind;
      return kind == ViewKind::kKeys     ? "dict_keys"
             : kind == ViewKind::kValues ? "dict_values"
                                         : "dict_items";
    }
    case Kind::kRange:
      return "range";
    case Kind::kIterator:
      return v.iterator().type_name;
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kCallable:
      return "function";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kCycler:
      return "Cycler";
  }
  return "?";
}

void undefined_used(const Value& v) { throw Failure{v.undefined().message}; }

bool truthy(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return v.as_int() != 0;
    case Kind::kFloat:
      return v.as_double() != 0;
    default: {
      const auto n = length(v);
      return !n || *n > 0;
    }
  }
}

std::optional<size_t> length(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return v.string().length;
    case Kind::kList:
    case Kind::kTuple:
      return v.list().items.size();
    case Kind::kDict:
      return v.dict().entries.size();
    case Kind::kDictView:
      return v.view().dict.dict().entries.size();
    case Kind::kRange:
      return v.range().size();
    case Kind::kLoop:
      return v.loop().length();
    default:
      return std::nullopt;
  }
}

namespace {

bool equal_items(Heap& heap, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!equal(heap, a[i], b[i])) return false;
  return true;
}

bool equal_dicts(Heap& heap, const DictObject& a, const DictObject& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.find(key);
    if (!other || !equal(heap, value, *other)) return false;
  }
  return true;
}

bool equal_ranges(const RangeObject& a, const RangeObject& b) {
  const size_t n = a.size();
  if (n != b.size()) return false;
  return n == 0 || (a.start == b.start && (n == 1 || a.step == b.step));
}

template <typename T>
bool holds(CompareOp op, const T& a, const T& b) {
  switch (op) {
    case CompareOp::kLt:
      return a < b;
    case CompareOp::kLe:
      return a <= b;
    case CompareOp::kGt:
      return a > b;
    default:
      return a >= b;
  }
}

// Exact for every pair of an int64 and a double: long double has a 64-bit significand here.
static_assert(std::numeric_limits<long double>::digits >= 64);
long double exact(const Value& v) {
  return v.is(Kind::kFloat) ? static_cast<long double>(v.as_double())
                            : static_cast<long double>(v.as_int());
}

bool order(Heap& heap, CompareOp op, const Value& a, const Value& b) {
  heap.tick();
  if (a.is_undefined()) undefined_used(a);
  if (b.is_undefined()) undefined_used(b);
  if (a.is_number() && b.is_number()) return holds(op, exact(a), exact(b));
  if (a.is_string() && b.is_string()) return holds(op, a.text(), b.text());
  const bool lists = a.is(Kind::kList) && b.is(Kind::kList);
  if (!lists && !(a.is(Kind::kTuple) && b.is(Kind::kTuple)))
    raise("'{}' and '{}' cannot be ordered", type_name(a), type_name(b));
  const auto &x = a.list().items, &y = b.list().items;
  for (size_t i = 0; i < x.size() && i < y.size(); ++i)
    if (!equal(heap, x[i], y[i])) return order(heap, op, x[i], y[i]);
  return holds(op, x.size(), y.size());
}

}  // namespace

bool equal(Heap& heap, const Value& a, const Value& b) {
  heap.tick();
  if (a.is_number() && b.is_number()) return exact(a) == exact(b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      heap.tick(a.text().size() / 64);
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple:
      return equal_items(heap, a.list().items, b.list().items);
    case Kind::kDict:
      return equal_dicts(heap, a.dict(), b.dict());
    case Kind::kRange:
      return equal_ranges(a.range(), b.range());
    default:
      return a.object() == b.object();
  }
}

bool less(Heap& heap, const Value& a, const Value& b) { return order(heap, CompareOp::kLt, a, b); }

bool compare(Heap& heap, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq:
      return equal(heap, a, b);
    case CompareOp::kNe:
      return !equal(heap, a, b);
    case CompareOp::kIn:
      return contains(heap, b, a);
    case CompareOp::kNotIn:
      return !contains(heap, b, a);
    default:
      return order(heap, op, a, b);
  }
}

bool contains(Heap& heap, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) raise("'in <str>' needs a str on its left, not {}", type_name(item));
    heap.tick(container.text().size() / 64);
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is(Kind::kDict)) return container.dict().find(item) != nullptr;
  const Value it = iterate(heap, container);
  Value v;
  while (it.iterator().next(v))
    if (equal(heap, v, item)) return true;
  return false;
}

size_t hash_text(std::string_view text) { return std::hash<std::string_view>{}(text); }

size_t hash_value(Heap& heap, const Value& v) {
  heap.tick();
  switch (v.kind()) {
    case Kind::kUndefined:
      return 2;
    case Kind::kNone:
      return 1;
    case Kind::kBool:
    case Kind::kInt:
      return std::hash<int64_t>{}(v.as_int());
    case Kind::kFloat: {
      const double d = v.as_double();
      if (d == std::floor(d) && std::fabs(d) < 9.2e18)
        return std::hash<int64_t>{}(static_cast<int64_t>(d));
      return std::hash<double>{}(d);
    }
    case Kind::kString:
      return hash_text(v.text());
    case Kind::kTuple: {
      size_t h = 0x9E3779B97F4A7C15u;
      for (const Value& item : v.list().items) h = (h ^ hash_value(heap, item)) * 0x100000001B3u;
      return h;
    }
    case Kind::kRange:
      return v.range().size() * 31 + 7;
    case Kind::kList:
    case Kind::kDict:
      break;
    case Kind::kDictView:
      if (v.view().kind != ViewKind::kValues) break;
      [[fallthrough]];
    default:
      return std::hash<const void*>{}(v.object());
  }
  raise("a {} cannot be a key or a member of a set", type_name(v));
}

bool iterable(const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kDictView:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kLoop:
      return true;
    default:
      return false;
  }
}

namespace {

Value view_item(Heap& heap, const Pair& entry, ViewKind kind) {
  if (kind == ViewKind::kKeys) return entry.first;
  if (kind == ViewKind::kValues) return entry.second;
  return make_tuple(heap, {entry.first, entry.second});
}

// An iterator over items that `at` makes; the source stays alive in the closure.
template <typename At>
Value indexed(Heap& heap, const Value& v, size_t n, At at) {
  return make_iterator(heap, "iterator", nesting(v) + 1,
                       [&heap, n, at = std::move(at), i = size_t{0}](Value& out) mutable {
                         if (i >= n) return false;
                         heap.tick();
                         out = at(i++);
                         return true;
                       });
}

}  // namespace

Value iterate(Heap& heap, const Value& v) {
  switch (v.kind()) {
    case Kind::kUndefined:
      return make_iterator(heap, "generator", 1, [](Value&) { return false; });
    case Kind::kIterator:
      return v;
    case Kind::kList:
    case Kind::kTuple:
      return indexed(heap, v, v.list().items.size(), [v](size_t i) { return v.list().items[i]; });
    case Kind::kDict:
      return indexed(heap, v, v.dict().entries.size(),
                     [v](size_t i) { return v.dict().entries[i].first; });
    case Kind::kDictView:
      return indexed(heap, v, *length(v), [v, &heap](size_t i) {
        return view_item(heap, v.view().dict.dict().entries[i], v.view().kind);
      });
    case Kind::kRange:
      return indexed(heap, v, v.range().size(), [v](size_t i) { return v.range().at(i); });
    case Kind::kString:
      return indexed(heap, v, v.string().length, [v, &heap, pos = size_t{0}](size_t) mutable {
        const size_t start = pos;
        next_code(v.text(), pos);
        return make_string(heap, v.text().substr(start, pos - start));
      });
    default:
      raise("a {} is not iterable", type_name(v));
  }
}

std::vector<Value> to_vector(Heap& heap, const Value& v) {
  if (v.is(Kind::kList) || v.is(Kind::kTuple)) {
    heap.tick(v.list().items.size() / 4);
    return v.list().items;
  }
  const Value it = iterate(heap, v);
  std::vector<Value> out;
  Value item;
  while (it.iterator().next(item)) {
    heap.check_size(out.size(), sizeof(Value));
    out.push_back(item);
  }
  return out;
}

}  // namespace tokamak::jinja

#include "text/jinja/value.h"

#include <algorithm>

#include "text/jinja/loop.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

int checked_depth(int depth) {
  if (depth > kMaxNesting) raise("values are nested deeper than {} levels", kMaxNesting);
  return depth;
}

int depth_of(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& v : items) depth = std::max(depth, nesting(v));
  return checked_depth(depth + 1);
}

constexpr size_t kIndexedFrom = 8;  // entries; smaller dicts are searched linearly

}  // namespace

const StringObject& Value::string() const { return static_cast<const StringObject&>(*object_); }
const std::string& Value::text() const { return string().text; }
const ListObject& Value::list() const { return static_cast<const ListObject&>(*object_); }
const DictObject& Value::dict() const { return static_cast<const DictObject&>(*object_); }
const ViewObject& Value::view() const { return static_cast<const ViewObject&>(*object_); }
const RangeObject& Value::range() const { return static_cast<const RangeObject&>(*object_); }
IteratorObject& Value::iterator() const { return static_cast<IteratorObject&>(*object_); }
NamespaceObject& Value::ns() const { return static_cast<NamespaceObject&>(*object_); }
CallableObject& Value::callable() const { return static_cast<CallableObject&>(*object_); }
LoopObject& Value::loop() const { return static_cast<LoopObject&>(*object_); }
CyclerObject& Value::cycler() const { return static_cast<CyclerObject&>(*object_); }
const UndefinedObject& Value::undefined() const {
  return static_cast<const UndefinedObject&>(*object_);
}

int nesting(const Value& v) {
  switch (v.kind()) {
    case Kind::kList:
    case Kind::kTuple:
      return v.list().depth;
    case Kind::kDict:
      return v.dict().depth;
    case Kind::kDictView:
      return v.view().dict.dict().depth + 1;
    case Kind::kIterator:
      return v.iterator().depth;
    case Kind::kCallable:
      return v.callable().depth;
    case Kind::kCycler:
      return depth_of(v.cycler().items);
    default:
      return 0;
  }
}

StringObject::StringObject(Heap& heap, std::string t, bool m)
    : Object(heap, sizeof(StringObject) + t.size()),
      text(std::move(t)),
      length(count_codes(text)),
      markup(m) {}

ListObject::ListObject(Heap& heap, std::vector<Value> i, bool g)
    : Object(heap, sizeof(ListObject) + i.size() * sizeof(Value)),
      items(std::move(i)),
      group(g),
      depth(depth_of(items)) {}

size_t DictObject::slot(const Value& key, size_t hash) const {
  if (entries.size() <= kIndexedFrom) {
    for (size_t i = 0; i < entries.size(); ++i)
      if (equal(heap, entries[i].first, key)) return i;
    return entries.size();
  }
  auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    heap.tick();
    if (equal(heap, entries[it->second].first, key)) return it->second;
  }
  return entries.size();
}

void DictObject::set(const Value& key, const Value& value) {
  const size_t hash = hash_value(heap, key);
  const size_t i = slot(key, hash);
  depth = checked_depth(std::max(depth, std::max(nesting(key), nesting(value)) + 1));
  if (i < entries.size()) {
    entries[i].second = value;
    return;
  }
  account(sizeof(Pair) + 48);
  entries.emplace_back(key, value);
  if (entries.size() == kIndexedFrom + 1) {
    for (size_t e = 0; e < entries.size(); ++e)
      index_.emplace(hash_value(heap, entries[e].first), e);
  } else if (entries.size() > kIndexedFrom) {
    index_.emplace(hash, i);
  }
}

const Value* DictObject::find(const Value& key) const {
  const size_t i = slot(key, hash_value(heap, key));
  return i < entries.size() ? &entries[i].second : nullptr;
}

const Value* DictObject::find(std::string_view key) const {
  if (entries.size() <= kIndexedFrom) {
    for (const auto& [k, v] : entries)
      if (k.is_string() && k.text() == key) return &v;
    return nullptr;
  }
  auto [begin, end] = index_.equal_range(hash_text(key));
  for (auto it = begin; it != end; ++it) {
    const auto& [k, v] = entries[it->second];
    if (k.is_string() && k.text() == key) return &v;
  }
  return nullptr;
}

size_t RangeObject::size() const {
  if (step > 0 ? start >= stop : start <= stop) return 0;
  const auto span = step > 0 ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                             : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
  const auto stride = step > 0 ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
  return (span - 1) / stride + 1;
}

const Value* NamespaceObject::find(std::string_view name) const {
  for (const auto& [n, v] : attributes)
    if (n == name) return &v;
  return nullptr;
}

void NamespaceObject::set(std::string_view name, const Value& value) {
  if (name.starts_with('_'))
    raise("a namespace cannot hold '{}': names must not begin with an underscore", name);
  for (auto& [n, v] : attributes) {
    if (n != name) continue;
    v = value;
    return;
  }
  account(sizeof(attributes[0]) + name.size());
  attributes.emplace_back(name, value);
}

Value make_string(Heap& heap, std::string text, bool markup) {
  return Value(Kind::kString, std::make_shared<StringObject>(heap, std::move(text), markup));
}
Value make_list(Heap& heap, std::vector<Value> items) {
  return Value(Kind::kList, std::make_shared<ListObject>(heap, std::move(items), false));
}
Value make_tuple(Heap& heap, std::vector<Value> items, bool group) {
  return Value(Kind::kTuple, std::make_shared<ListObject>(heap, std::move(items), group));
}
Value make_undefined(Heap& heap, std::string message) {
  return Value(Kind::kUndefined, std::make_shared<UndefinedObject>(heap, std::move(message)));
}
Value make_iterator(Heap& heap, std::string type, int depth, std::function<bool(Value&)> next) {
  return Value(Kind::kIterator, std::make_shared<IteratorObject>(
                                    heap, std::move(type), checked_depth(depth), std::move(next)));
}
Value make_callable(Heap& heap, std::string name, std::function<Value(Arguments&)> call,
                    int depth) {
  return Value(Kind::kCallable, std::make_shared<CallableObject>(
                                    heap, std::move(name), checked_depth(depth), std::move(call)));
}

}  // namespace tokamak::jinja

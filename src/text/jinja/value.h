// Values of the template language: Python's None, bool, int (64 bits), float, str, list, tuple,
// dict, range and iterators, Jinja's Undefined, and things that can be called. Containers are
// immutable once made (the sandbox forbids mutation), so values form no cycles except through
// namespaces and scopes, which the evaluator owns and clears.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/heap.h"

namespace tokamak::jinja {

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kDictView,
  kRange,
  kIterator,
  kNamespace,
  kCallable,
  kLoop,
  kCycler
};

constexpr int kMaxNesting = 250;  // of containers in containers

struct Object {
  Object(Heap& heap, size_t bytes) : heap_(heap), bytes_(bytes) { heap_.take(bytes_); }
  Object(const Object&) = delete;
  virtual ~Object() { heap_.give(bytes_); }
  void account(size_t more) {
    heap_.take(more);
    bytes_ += more;
  }

 private:
  Heap& heap_;
  size_t bytes_;
};

struct StringObject;
struct ListObject;
struct DictObject;
struct ViewObject;
struct RangeObject;
struct IteratorObject;
struct NamespaceObject;
struct CallableObject;
struct LoopObject;
struct CyclerObject;
struct UndefinedObject;

class Value {
 public:
  Value() : kind_(Kind::kNone), int_(0) {}
  static Value boolean(bool b) { return Value(Kind::kBool, b); }
  static Value integer(int64_t i) { return Value(Kind::kInt, i); }
  static Value real(double d) {
    Value v;
    v.kind_ = Kind::kFloat;
    v.float_ = d;
    return v;
  }
  Value(Kind kind, std::shared_ptr<Object> object)
      : kind_(kind), int_(0), object_(std::move(object)) {}

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  // Python's int includes bool.
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

  bool as_bool() const { return int_ != 0; }
  int64_t as_int() const { return int_; }
  double as_double() const { return kind_ == Kind::kFloat ? float_ : static_cast<double>(int_); }
  const Object* object() const { return object_.get(); }

  const StringObject& string() const;
  const std::string& text() const;
  const ListObject& list() const;  // list or tuple
  const DictObject& dict() const;
  const ViewObject& view() const;
  const RangeObject& range() const;
  IteratorObject& iterator() const;
  NamespaceObject& ns() const;
  CallableObject& callable() const;
  LoopObject& loop() const;
  CyclerObject& cycler() const;
  const UndefinedObject& undefined() const;

 private:
  Value(Kind kind, int64_t i) : kind_(kind), int_(i) {}
  Kind kind_;
  union {
    int64_t int_;
    double float_;
  };
  std::shared_ptr<Object> object_;
};

// Levels of containers below a value (a scalar: 0).
int nesting(const Value& v);

struct StringObject : Object {
  StringObject(Heap& heap, std::string t, bool m);
  std::string text;  // valid UTF-8
  size_t length;     // code points
  bool markup;       // marked safe: concatenation escapes the other side
  bool ascii() const { return length == text.size(); }
};

struct ListObject : Object {
  ListObject(Heap& heap, std::vector<Value> i, bool group);
  std::vector<Value> items;
  bool group;  // groupby's tuple: items also answer to .grouper and .list
  int depth;
};

using Pair = std::pair<Value, Value>;

struct DictObject : Object {
  explicit DictObject(Heap& heap) : Object(heap, sizeof(DictObject)), heap(heap) {}
  void set(const Value& key, const Value& value);  // raises on an unhashable key
  const Value* find(const Value& key) const;       // raises on an unhashable key
  const Value* find(std::string_view key) const;
  std::vector<Pair> entries;
  int depth = 1;

 private:
  size_t slot(const Value& key, size_t hash) const;
  Heap& heap;
  std::unordered_multimap<size_t, size_t> index_;  // hash -> entry; filled beyond 8 entries
};

enum class ViewKind : uint8_t { kKeys, kValues, kItems };
struct ViewObject : Object {
  ViewObject(Heap& heap, Value d, ViewKind k)
      : Object(heap, sizeof(ViewObject)), dict(std::move(d)), kind(k) {}
  Value dict;
  ViewKind kind;
};

struct RangeObject : Object {
  RangeObject(Heap& heap, int64_t a, int64_t b, int64_t s)
      : Object(heap, sizeof(RangeObject)), start(a), stop(b), step(s) {}
  int64_t start, stop, step;
  size_t size() const;
  Value at(size_t i) const { return Value::integer(start + static_cast<int64_t>(i) * step); }
};

// A single-pass sequence: a generator of Python. next returns false at the end.
struct IteratorObject : Object {
  IteratorObject(Heap& heap, std::string type, int d, std::function<bool(Value&)> f)
      : Object(heap, sizeof(IteratorObject) + 64),
        type_name(std::move(type)),
        depth(d),
        next(std::move(f)) {}
  std::string type_name;
  int depth;
  std::function<bool(Value&)> next;
};

struct NamespaceObject : Object {
  explicit NamespaceObject(Heap& heap) : Object(heap, sizeof(NamespaceObject)) {}
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
  void set(std::string_view name, const Value& value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

struct CallableObject : Object {
  CallableObject(Heap& heap, std::string n, int d, std::function<Value(Arguments&)> f)
      : Object(heap, sizeof(CallableObject) + 64),
        name(std::move(n)),
        depth(d),
        call(std::move(f)) {}
  std::string name;  // what printing it shows
  int depth;
  std::function<Value(Arguments&)> call;
};

struct CyclerObject : Object {
  CyclerObject(Heap& heap, std::vector<Value> i)
      : Object(heap, sizeof(CyclerObject)), items(std::move(i)) {}
  std::vector<Value> items;
  size_t position = 0;
};

struct UndefinedObject : Object {
  UndefinedObject(Heap& heap, std::string m)
      : Object(heap, sizeof(UndefinedObject) + m.size()), message(std::move(m)) {}
  std::string message;  // what an operation on it fails with
};

Value make_string(Heap& heap, std::string text, bool markup = false);
Value make_list(Heap& heap, std::vector<Value> items);
Value make_tuple(Heap& heap, std::vector<Value> items, bool group = false);
Value make_undefined(Heap& heap, std::string message);
Value make_iterator(Heap& heap, std::string type, int depth, std::function<bool(Value&)> next);
Value make_callable(Heap& heap, std::string name, std::function<Value(Arguments&)> call,
                    int depth = 0);

// Collects a dict; later values of a key replace earlier ones in place, as in Python.
class DictBuilder {
 public:
  explicit DictBuilder(Heap& heap) : dict_(std::make_shared<DictObject>(heap)) {}
  void set(const Value& key, const Value& value) { dict_->set(key, value); }
  Value take() { return Value(Kind::kDict, std::move(dict_)); }

 private:
  std::shared_ptr<DictObject> dict_;
};

}  // namespace tokamak::jinja

// The `loop` variable of a for loop.
#pragma once
#include <functional>
#include <optional>

#include "text/jinja/value.h"

namespace tokamak::jinja {

struct LoopObject : Object {
  // `items` when the sequence has a size; else `source` is drawn from one item ahead at most.
  LoopObject(Heap& heap, Value sequence, int depth0);

  bool advance(Value& item);  // next item into `item`; false at the end
  size_t length();
  bool last();
  Value attribute(std::string_view name);  // raises for an unknown name
  bool has_attribute(std::string_view name) const;
  Value next_item();
  Value cycle(const Arguments& args) const;
  bool changed(std::vector<Value> values);

  int64_t index0 = -1;
  int depth0;
  std::function<Value(const Value&)> recurse;  // set when the loop is recursive

 private:
  bool draw(Value& item);
  bool peek();
  Heap& heap_;
  Value sequence_;
  Value source_;  // an iterator
  std::optional<size_t> length_;
  std::optional<Value> ahead_, current_, before_;
  std::optional<std::vector<Value>> last_changed_;
};

}  // namespace tokamak::jinja

#include "text/jinja/loop.h"

#include <array>

#include "text/jinja/operators.h"

namespace tokamak::jinja {

LoopObject::LoopObject(Heap& heap, Value sequence, int depth0)
    : Object(heap, sizeof(LoopObject)),
      depth0(depth0),
      heap_(heap),
      sequence_(std::move(sequence)),
      source_(iterate(heap, sequence_)) {}

bool LoopObject::draw(Value& item) { return source_.iterator().next(item); }

bool LoopObject::peek() {
  if (ahead_) return true;
  Value item;
  if (!draw(item)) return false;
  ahead_ = item;
  return true;
}

bool LoopObject::advance(Value& item) {
  if (ahead_) {
    item = *std::exchange(ahead_, std::nullopt);
  } else if (!draw(item)) {
    return false;
  }
  ++index0;
  before_ = std::exchange(current_, item);
  return true;
}

size_t LoopObject::length() {
  if (length_) return *length_;
  length_ = jinja::length(sequence_);
  if (length_) return *length_;
  std::vector<Value> rest = to_vector(heap_, source_);
  length_ = rest.size() + static_cast<size_t>(index0 + 1) + (ahead_ ? 1 : 0);
  source_ = iterate(heap_, make_list(heap_, std::move(rest)));
  return *length_;
}

bool LoopObject::last() { return !peek(); }

Value LoopObject::next_item() {
  if (peek()) return *ahead_;
  return make_undefined(heap_, "there is no next item");
}

bool LoopObject::has_attribute(std::string_view name) const {
  static constexpr std::array<std::string_view, 11> kNames = {
      "index",  "index0", "revindex", "revindex0", "first",   "last",
      "length", "depth",  "depth0",   "previtem",  "nextitem"};
  for (std::string_view known : kNames)
    if (known == name) return true;
  return false;
}

Value LoopObject::attribute(std::string_view name) {
  const auto size = [&] { return static_cast<int64_t>(length()); };
  if (name == "index") return Value::integer(index0 + 1);
  if (name == "index0") return Value::integer(index0);
  if (name == "first") return Value::boolean(index0 == 0);
  if (name == "last") return Value::boolean(last());
  if (name == "length") return Value::integer(size());
  if (name == "revindex") return Value::integer(size() - index0);
  if (name == "revindex0") return Value::integer(size() - index0 - 1);
  if (name == "depth") return Value::integer(depth0 + 1);
  if (name == "depth0") return Value::integer(depth0);
  if (name == "nextitem") return next_item();
  if (name == "previtem") {
    if (index0 == 0 || !before_) return make_undefined(heap_, "there is no previous item");
    return *before_;
  }
  raise("a loop has no attribute '{}'", name);
}

Value LoopObject::cycle(const Arguments& args) const {
  if (args.positional.empty()) raise("loop.cycle needs at least one item");
  return args.positional[static_cast<size_t>(index0) % args.positional.size()];
}

bool LoopObject::changed(std::vector<Value> values) {
  const bool same =
      last_changed_ && equal(heap_, make_tuple(heap_, *last_changed_), make_tuple(heap_, values));
  if (!same) last_changed_ = std::move(values);
  return !same;
}

}  // namespace tokamak::jinja

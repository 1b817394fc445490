// map, select, reject, selectattr, rejectattr: lazy, as generators are in Python.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/params.h"

namespace tokamak::jinja {

namespace {

std::string take_name(Arguments& args, const char* filter) {
  const Value name = args.positional.front();
  args.positional.erase(args.positional.begin());
  if (!name.is_string())
    raise("{} needs the name of a filter or test, found {}", filter, type_name(name));
  return name.text();
}

std::function<Value(const Value&)> mapper(Evaluator& e, Arguments args) {
  Heap& heap = e.heap();
  if (!args.positional.empty()) {
    const Filter filter = find_filter(take_name(args, "map"));
    return [&e, filter, args](const Value& item) {
      Arguments copy = args;
      return filter(e, item, copy);
    };
  }
  const bool by_attribute = std::any_of(args.keywords.begin(), args.keywords.end(),
                                        [](const auto& k) { return k.first == "attribute"; });
  if (!by_attribute) raise("map needs a filter's name or an attribute");
  const Params p(heap, "map", args, {"attribute", "default"});
  return [&heap, path = p[0], otherwise = p[1]](const Value& item) {
    return follow_path(heap, item, path, otherwise.is_none() ? nullptr : &otherwise);
  };
}

int depth_of(const Value& source, const Arguments& args) {
  int depth = nesting(source);
  for (const Value& v : args.positional) depth = std::max(depth, nesting(v));
  for (const auto& [name, v] : args.keywords) depth = std::max(depth, nesting(v));
  return depth + 1;
}

Value map(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const bool any = truthy(v);
  return make_iterator(heap, "generator", depth_of(v, args),
                       [&e, v, args, any, source = Value(),
                        apply = std::function<Value(const Value&)>()](Value& out) mutable {
                         if (!any) return false;
                         if (!apply) {
                           apply = mapper(e, args);
                           source = iterate(e.heap(), v);
                         }
                         Value item;
                         if (!source.iterator().next(item)) return false;
                         out = apply(item);
                         return true;
                       });
}

std::function<bool(const Value&)> chooser(Evaluator& e, Arguments args, bool by_attribute) {
  Heap& heap = e.heap();
  std::optional<Value> path;
  if (by_attribute) {
    if (args.positional.empty()) raise("this filter needs an attribute's name");
    path = args.positional.front();
    args.positional.erase(args.positional.begin());
  }
  Test test = nullptr;
  if (!args.positional.empty()) test = find_test(take_name(args, "select"));
  return [&e, &heap, path, test, args](const Value& item) {
    const Value v = path ? follow_path(heap, item, *path) : item;
    if (!test) return truthy(v);
    Arguments copy = args;
    return test(e, v, copy);
  };
}

template <bool kKeep, bool kByAttribute>
Value select(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const bool any = truthy(v);
  return make_iterator(heap, "generator", depth_of(v, args),
                       [&e, v, args, any, source = Value(),
                        choose = std::function<bool(const Value&)>()](Value& out) mutable {
                         if (!any) return false;
                         if (!choose) {
                           choose = chooser(e, args, kByAttribute);
                           source = iterate(e.heap(), v);
                         }
                         while (source.iterator().next(out))
                           if (choose(out) == kKeep) return true;
                         return false;
                       });
}

constexpr FilterEntry kFilters[] = {
    {"map", map},
    {"select", select<true, false>},
    {"reject", select<false, false>},
    {"selectattr", select<true, true>},
    {"rejectattr", select<false, true>},
};

}  // namespace

std::span<const FilterEntry> select_filters() { return kFilters; }

}  // namespace tokamak::jinja

// sort, dictsort, unique, min, max, groupby; and the attribute paths that they and others follow.
#include <algorithm>
#include <unordered_map>

#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/params.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

Value ignore_case(Heap& heap, const Value& v) {
  return v.is_string() ? make_string(heap, to_lower(v.text())) : v;
}

Value follow_path(Heap& heap, const Value& item, const Value& path, const Value* otherwise) {
  if (path.is_none()) return item;
  const auto step = [&](const Value& v, const Value& key) {
    Value next = get_item(heap, v, key);
    return otherwise && next.is_undefined() ? *otherwise : next;
  };
  if (!path.is_string()) return step(item, path);
  Value v = item;
  std::string_view rest = path.text();
  for (;;) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool index =
        !part.empty() && part.size() < 18 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    v = step(v,
             index ? Value::integer(*parse_int(part, 10)) : make_string(heap, std::string(part)));
    if (dot == std::string_view::npos) return v;
    rest.remove_prefix(dot + 1);
  }
}

namespace {

// Items with their keys, in the order of the keys.
struct Keyed {
  Value key, item;
};

void sort_keyed(Heap& heap, std::vector<Keyed>& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(heap, b.key, a.key) : less(heap, a.key, b.key);
  });
}

Value list_of_items(Heap& heap, const std::vector<Keyed>& keyed) {
  std::vector<Value> out;
  out.reserve(keyed.size());
  for (const Keyed& k : keyed) out.push_back(k.item);
  return make_list(heap, std::move(out));
}

// The attributes of "a,b.c", as a list to compare by.
Value multi_key(Heap& heap, const Value& item, const Value& attribute, bool case_sensitive) {
  const auto finish = [&](const Value& v) { return case_sensitive ? v : ignore_case(heap, v); };
  std::vector<Value> keys;
  if (!attribute.is_string()) {
    keys.push_back(finish(follow_path(heap, item, attribute)));
    return make_list(heap, std::move(keys));
  }
  std::string_view rest = attribute.text();
  for (;;) {
    const size_t comma = rest.find(',');
    keys.push_back(
        finish(follow_path(heap, item, make_string(heap, std::string(rest.substr(0, comma))))));
    if (comma == std::string_view::npos) return make_list(heap, std::move(keys));
    rest.remove_prefix(comma + 1);
  }
}

// sort(reverse=False, case_sensitive=False, attribute=None)
Value sort(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "sort", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<Keyed> items;
  for (const Value& item : to_vector(heap, v))
    items.push_back({multi_key(heap, item, p[2], p.boolean(1, false)), item});
  sort_keyed(heap, items, p.boolean(0, false));
  return list_of_items(heap, items);
}

// dictsort(case_sensitive=False, by='key', reverse=False)
Value dict_sort(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = p.text(1, "key");
  if (by != "key" && by != "value") raise("dictsort: by must be key or value, not '{}'", by);
  if (v.is_undefined()) undefined_used(v);
  if (!v.is(Kind::kDict)) raise("dictsort needs a dict, not {}", type_name(v));
  std::vector<Keyed> items;
  for (const auto& [key, value] : v.dict().entries) {
    const Value& k = by == "key" ? key : value;
    items.push_back(
        {p.boolean(0, false) ? k : ignore_case(heap, k), make_tuple(heap, {key, value})});
  }
  sort_keyed(heap, items, p.boolean(2, false));
  return list_of_items(heap, items);
}

Value single_key(Heap& heap, const Value& item, const Value& attribute, bool case_sensitive) {
  const Value key = follow_path(heap, item, attribute);
  return case_sensitive ? key : ignore_case(heap, key);
}

// unique(case_sensitive=False, attribute=None)
Value unique(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "unique", args, {"case_sensitive", "attribute"});
  const bool case_sensitive = p.boolean(0, false);
  auto seen = std::make_shared<DictObject>(heap);
  return make_iterator(
      heap, "generator", nesting(v) + 1,
      [v, &heap, seen, case_sensitive, attribute = p[1], source = Value()](Value& out) mutable {
        if (source.is_none()) source = iterate(heap, v);
        while (source.iterator().next(out)) {
          const Value key = single_key(heap, out, attribute, case_sensitive);
          if (seen->find(key)) continue;
          seen->set(key, Value());
          return true;
        }
        return false;
      });
}

// min and max(case_sensitive=False, attribute=None)
template <bool kMax>
Value extreme(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, kMax ? "max" : "min", args, {"case_sensitive", "attribute"});
  const std::vector<Value> items = to_vector(heap, v);
  if (items.empty())
    return make_undefined(heap, "the sequence is empty: it has no least or greatest item");
  const auto key = [&](const Value& item) {
    return single_key(heap, item, p[1], p.boolean(0, false));
  };
  Value best = items[0], best_key = key(best);
  for (size_t i = 1; i < items.size(); ++i) {
    const Value k = key(items[i]);
    if (kMax ? !less(heap, best_key, k) : !less(heap, k, best_key)) continue;
    best = items[i];
    best_key = k;
  }
  return best;
}

// groupby(attribute, default=None, case_sensitive=False): tuples (grouper, list), sorted by key.
Value group_by(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const bool case_sensitive = p.boolean(2, false);
  const Value* otherwise = p[1].is_none() ? nullptr : &p[1];
  std::vector<Keyed> items;
  for (const Value& item : to_vector(heap, v)) {
    const Value key = follow_path(heap, item, p[0], otherwise);
    items.push_back({case_sensitive ? key : ignore_case(heap, key), item});
  }
  sort_keyed(heap, items, false);
  std::vector<Value> groups;
  for (size_t i = 0; i < items.size();) {
    const size_t start = i;
    std::vector<Value> members;
    for (; i < items.size() && equal(heap, items[i].key, items[start].key); ++i)
      members.push_back(items[i].item);
    if (members.empty())
      members.push_back(items[i++].item);  // a key that does not equal itself: NaN
    groups.push_back(make_tuple(heap,
                                {follow_path(heap, items[start].item, p[0], otherwise),
                                 make_list(heap, std::move(members))},
                                true));
  }
  return make_list(heap, std::move(groups));
}

constexpr FilterEntry kFilters[] = {
    {"sort", sort},          {"dictsort", dict_sort}, {"unique", unique},
    {"min", extreme<false>}, {"max", extreme<true>},  {"groupby", group_by},
};

}  // namespace

std::span<const FilterEntry> order_filters() { return kFilters; }

}  // namespace tokamak::jinja

// Filters on sequences and mappings.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/params.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

Value length_filter(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "length", args, {});
  const auto n = length(v);
  if (!n) raise("a {} has no length", type_name(v));
  return Value::integer(static_cast<int64_t>(*n));
}

// default(value='', boolean=False)
Value default_filter(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "default", args, {"default_value", "boolean"});
  if (!v.is_undefined() && !(p.boolean(1, false) && !truthy(v))) return v;
  return p.given(0) ? p[0] : e.string("");
}

Value list_filter(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "list", args, {});
  return make_list(e.heap(), to_vector(e.heap(), v));
}

Value first(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "first", args, {});
  Value item;
  if (iterate(e.heap(), v).iterator().next(item)) return item;
  return make_undefined(e.heap(), "the sequence is empty: it has no first item");
}

bool reversible(const Value& v) {
  return iterable(v) && !v.is(Kind::kIterator) && !v.is(Kind::kLoop);
}

Value last(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "last", args, {});
  if (!reversible(v)) raise("a {} has no last item", type_name(v));
  const std::vector<Value> items = to_vector(e.heap(), v);
  return items.empty() ? make_undefined(e.heap(), "the sequence is empty: it has no last item")
                       : items.back();
}

Value reverse(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  Params(heap, "reverse", args, {});
  if (v.is_string()) {
    std::u32string codes = decode_utf8(v.text());
    heap.tick(codes.size() / 16);
    std::reverse(codes.begin(), codes.end());
    return make_string(heap, encode_utf8(codes), v.string().markup);
  }
  std::vector<Value> items = to_vector(heap, v);
  std::reverse(items.begin(), items.end());
  const Value list = make_list(heap, std::move(items));
  return reversible(v) ? iterate(heap, list) : list;
}

// join(d='', attribute=None)
Value join(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "join", args, {"d", "attribute"});
  const std::string separator = p.printed(0, "");
  const Value it = iterate(heap, v);
  std::string out;
  Value item;
  for (bool first_item = true; it.iterator().next(item); first_item = false) {
    if (!first_item) out += separator;
    append_text(heap, out, p[1].is_none() ? item : follow_path(heap, item, p[1]));
    heap.check_size(out.size(), 1);
  }
  return e.string(std::move(out));
}

Value items(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  Params(heap, "items", args, {});
  if (v.is_undefined()) return iterate(heap, v);
  if (!v.is(Kind::kDict)) {
    const std::string type = type_name(v);
    return make_iterator(heap, "generator", 1,
                         [type](Value&) -> bool { raise("items needs a dict, not {}", type); });
  }
  return iterate(heap,
                 Value(Kind::kDictView, std::make_shared<ViewObject>(heap, v, ViewKind::kItems)));
}

// Groups of `count` items; the last is filled up with `fill` when that is given.
Value batch(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "batch", args, {"linecount", "fill_with"}, 1);
  const Value source = iterate(heap, v), fill = p[1];
  const int64_t count = p.integer(0, 1);
  return make_iterator(heap, "generator", std::max(nesting(source), nesting(fill)) + 1,
                       [source, fill, count, &heap](Value& out) {
                         std::vector<Value> row;
                         Value item;
                         // A count that is not positive never fills a row.
                         while ((count <= 0 || row.size() < static_cast<size_t>(count)) &&
                                source.iterator().next(item)) {
                           heap.check_size(row.size(), sizeof(Value));
                           row.push_back(item);
                         }
                         if (row.empty()) return false;
                         if (!fill.is_none() && count > 0) {
                           heap.check_size(static_cast<size_t>(count), sizeof(Value));
                           heap.tick(static_cast<size_t>(count));
                           row.resize(static_cast<size_t>(count), fill);
                         }
                         out = make_list(heap, std::move(row));
                         return true;
                       });
}

// `slices` lists of about the same length.
Value slice(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "slice", args, {"slices", "fill_with"}, 1);
  const std::vector<Value> all = to_vector(heap, v);
  const int64_t count = p.integer(0, 1);
  if (count == 0) raise("slice needs a number of slices that is not 0");
  std::vector<Value> out;
  size_t start = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto n = static_cast<size_t>(count), each = all.size() / n, extra = all.size() % n;
    const size_t size = each + (static_cast<size_t>(i) < extra ? 1 : 0);
    heap.tick(1 + size);
    std::vector<Value> part(all.begin() + static_cast<std::ptrdiff_t>(start),
                            all.begin() + static_cast<std::ptrdiff_t>(start + size));
    if (!p[1].is_none() && static_cast<size_t>(i) >= extra) part.push_back(p[1]);
    out.push_back(make_list(heap, std::move(part)));
    start += size;
  }
  return iterate(heap, make_list(heap, std::move(out)));
}

// sum(attribute=None, start=0)
Value sum(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "sum", args, {"attribute", "start"});
  Value total = p.given(1) ? p[1] : Value::integer(0);
  if (total.is_string()) raise("sum cannot add strings: use join");
  const Value it = iterate(heap, v);
  Value item;
  while (it.iterator().next(item))
    total =
        binary(heap, BinaryOp::kAdd, total, p[0].is_none() ? item : follow_path(heap, item, p[0]));
  return total;
}

// attr(name): an attribute, never an item.
Value attr(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  const Params p(heap, "attr", args, {"name"}, 1);
  const std::string name = p.text(0, "");
  if (v.is_undefined()) undefined_used(v);
  if (v.is(Kind::kDict) && !find_method(v, name))
    return make_undefined(heap, fmt::format("a dict has no attribute '{}'", name));
  return get_attribute(heap, v, name);
}

constexpr FilterEntry kFilters[] = {
    {"length", length_filter},
    {"count", length_filter},
    {"default", default_filter},
    {"d", default_filter},
    {"list", list_filter},
    {"first", first},
    {"last", last},
    {"reverse", reverse},
    {"join", join},
    {"items", items},
    {"batch", batch},
    {"slice", slice},
    {"sum", sum},
    {"attr", attr},
};

}  // namespace

std::span<const FilterEntry> sequence_filters() { return kFilters; }

}  // namespace tokamak::jinja

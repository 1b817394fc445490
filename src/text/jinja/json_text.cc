// JSON in and out: the variables of a rendering, and the tojson filter as Hugging Face defines it.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "text/jinja/evaluator.h"
#include "text/jinja/params.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

Value import(Heap& heap, const OrderedJson& json, int depth) {
  if (depth > kMaxNesting) raise("a variable is nested deeper than {} levels", kMaxNesting);
  heap.tick();
  switch (json.type()) {
    case OrderedJson::value_t::null:
      return {};
    case OrderedJson::value_t::boolean:
      return Value::boolean(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return Value::integer(json.get<int64_t>());
    case OrderedJson::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX)
        raise("the integer {} does not fit in 64 signed bits", json.get<uint64_t>());
      return Value::integer(json.get<int64_t>());
    case OrderedJson::value_t::number_float:
      return Value::real(json.get<double>());
    case OrderedJson::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      heap.tick(text.size() / 64);
      if (!valid_utf8(text)) raise("a text among the variables is not valid UTF-8");
      return make_string(heap, text);
    }
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const OrderedJson& item : json) items.push_back(import(heap, item, depth + 1));
      return make_list(heap, std::move(items));
    }
    case OrderedJson::value_t::object: {
      DictBuilder dict(heap);
      for (auto it = json.begin(); it != json.end(); ++it) {
        if (!valid_utf8(it.key())) raise("a key among the variables is not valid UTF-8");
        dict.set(make_string(heap, it.key()), import(heap, it.value(), depth + 1));
      }
      return dict.take();
    }
    default:
      raise("a variable holds binary data");
  }
}

struct Writer {
  Heap& heap;
  bool ascii = false, sorted = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ", key_separator = ": ";
  std::string out;

  void newline(int level) {
    if (!indent) return;
    out += '\n';
    for (int i = 0; i < level; ++i) out += *indent;
  }

  void escaped(char32_t c) {
    const auto unit = [&](uint32_t u) { out += fmt::format("\\u{:04x}", u); };
    if (c < 0x10000) return unit(c);
    unit(0xD800 + ((c - 0x10000) >> 10));
    unit(0xDC00 + ((c - 0x10000) & 0x3FF));
  }

  void text(std::string_view s) {
    heap.tick(s.size() / 64);
    out += '"';
    for (size_t pos = 0; pos < s.size();) {
      const size_t start = pos;
      const char32_t c = next_code(s, pos);
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\b':
          out += "\\b";
          break;
        default:
          if (c < 0x20 || (ascii && c > 0x7E))
            escaped(c);
          else
            out.append(s, start, pos - start);
      }
    }
    out += '"';
  }

  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
    return float_repr(d);
  }

  void key(const Value& k) {
    switch (k.kind()) {
      case Kind::kString:
        return text(k.text());
      case Kind::kBool:
        return text(k.as_bool() ? "true" : "false");
      case Kind::kNone:
        return text("null");
      case Kind::kInt:
        return text(std::to_string(k.as_int()));
      case Kind::kFloat:
        return text(number(k.as_double()));
      default:
        raise("tojson: a key cannot be a {}", type_name(k));
    }
  }

  void array(const std::vector<Value>& items, int level) {
    if (items.empty()) {
      out += "[]";
      return;
    }
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i) out += item_separator;
      newline(level + 1);
      value(items[i], level + 1);
    }
    newline(level);
    out += ']';
  }

  void object(const DictObject& d, int level) {
    std::vector<const Pair*> entries;
    for (const Pair& e : d.entries) entries.push_back(&e);
    if (sorted)
      std::stable_sort(entries.begin(), entries.end(), [&](const Pair* a, const Pair* b) {
        return less(heap, a->first, b->first);
      });
    if (entries.empty()) {
      out += "{}";
      return;
    }
    out += '{';
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i) out += item_separator;
      newline(level + 1);
      key(entries[i]->first);
      out += key_separator;
      value(entries[i]->second, level + 1);
    }
    newline(level);
    out += '}';
  }

  void value(const Value& v, int level) {
    heap.tick();
    heap.check_size(out.size(), 1);
    switch (v.kind()) {
      case Kind::kNone:
        out += "null";
        break;
      case Kind::kBool:
        out += v.as_bool() ? "true" : "false";
        break;
      case Kind::kInt:
        out += std::to_string(v.as_int());
        break;
      case Kind::kFloat:
        out += number(v.as_double());
        break;
      case Kind::kString:
        text(v.text());
        break;
      case Kind::kList:
      case Kind::kTuple:
        array(v.list().items, level);
        break;
      case Kind::kDict:
        object(v.dict(), level);
        break;
      default:
        raise("tojson: a {} has no JSON form", type_name(v));
    }
  }
};

}  // namespace

std::optional<Value> import_variable(Heap& heap, const OrderedJson& variables,
                                     const std::string& name) {
  if (!variables.is_object()) raise("the variables must be a JSON object");
  const auto it = variables.find(name);
  if (it == variables.end()) return std::nullopt;
  return import(heap, *it, 0);
}

// tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)
Value to_json_filter(Evaluator& evaluator, const Value& v, Arguments& args) {
  Heap& heap = evaluator.heap();
  const Params p(heap, "tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  Writer writer{heap};
  writer.ascii = p.boolean(0, false);
  writer.sorted = p.boolean(3, false);
  if (p[1].is_string()) {
    writer.indent = p[1].text();
    if (writer.indent->size() > 1000)
      raise("tojson: an indent of {} bytes is too wide", writer.indent->size());
  } else if (!p[1].is_none()) {
    const int64_t width = p.integer(1, 0);
    if (width > 1000) raise("tojson: an indent of {} is too wide", width);
    writer.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  if (writer.indent) writer.item_separator = ",";
  if (!p[2].is_none()) {
    const std::vector<Value> pair = to_vector(heap, p[2]);
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      raise("tojson: separators must be a pair of strings");
    writer.item_separator = pair[0].text();
    writer.key_separator = pair[1].text();
  }
  writer.value(v, 0);
  return evaluator.string(std::move(writer.out));
}

}  // namespace tokamak::jinja

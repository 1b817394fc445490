// str() and repr() of values, as Python prints them.
#include <charconv>
#include <cmath>

#include "text/jinja/loop.h"
#include "text/jinja/operators.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  std::string digits;
  for (char c : text.substr(0, e))
    if (c >= '0' && c <= '9') digits += c;
  const std::string sign = std::signbit(d) ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits[0];
    if (count > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02d}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return sign + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return sign + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string quote(std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char32_t mark = doubled ? '"' : '\'';
  std::string out(1, static_cast<char>(mark));
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = next_code(text, pos);
    const auto code = static_cast<uint32_t>(c);
    if (c == mark || c == '\\')
      (out += '\\') += static_cast<char>(c);
    else if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (is_printable(c))
      append_utf8(out, c);
    else if (c < 0x100)
      out += fmt::format("\\x{:02x}", code);
    else if (c < 0x10000)
      out += fmt::format("\\u{:04x}", code);
    else
      out += fmt::format("\\U{:08x}", code);
  }
  return out += static_cast<char>(mark);
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

namespace {

struct Printer {
  Heap& heap;
  std::string& out;
  int depth = 0;

  void items(const std::vector<Value>& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (i) out += ", ";
      repr(values[i]);
    }
  }

  void dict(const DictObject& d) {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : d.entries) {
      if (!first) out += ", ";
      first = false;
      repr(key);
      out += ": ";
      repr(value);
    }
    out += '}';
  }

  void view(const ViewObject& v) {
    out += v.kind == ViewKind::kKeys     ? "dict_keys(["
           : v.kind == ViewKind::kValues ? "dict_values(["
                                         : "dict_items([";
    bool first = true;
    for (const auto& [key, value] : v.dict.dict().entries) {
      if (!first) out += ", ";
      first = false;
      if (v.kind == ViewKind::kItems) out += '(';
      if (v.kind != ViewKind::kValues) repr(key);
      if (v.kind == ViewKind::kItems) out += ", ";
      if (v.kind != ViewKind::kKeys) repr(value);
      if (v.kind == ViewKind::kItems) out += ')';
    }
    out += "])";
  }

  void ns(const NamespaceObject& n) {
    out += "<Namespace {";
    bool first = true;
    for (const auto& [name, value] : n.attributes) {
      if (!first) out += ", ";
      first = false;
      out += quote(name) + ": ";
      repr(value);
    }
    out += "}>";
  }

  void range(const RangeObject& r) {
    out += fmt::format("range({}, {}", r.start, r.stop);
    if (r.step != 1) out += fmt::format(", {}", r.step);
    out += ')';
  }

  void repr(const Value& v) {
    heap.tick();
    heap.check_size(out.size(), 1);
    // Only a namespace that holds itself can be this deep.
    if (++depth > 2 * kMaxNesting) raise("a value that contains itself cannot be printed");
    switch (v.kind()) {
      case Kind::kUndefined:
        out += "Undefined";
        break;
      case Kind::kNone:
        out += "None";
        break;
      case Kind::kBool:
        out += v.as_bool() ? "True" : "False";
        break;
      case Kind::kInt:
        out += std::to_string(v.as_int());
        break;
      case Kind::kFloat:
        out += float_repr(v.as_double());
        break;
      case Kind::kString:
        out += v.string().markup ? "Markup(" + quote(v.text()) + ")" : quote(v.text());
        break;
      case Kind::kList:
        out += '[';
        items(v.list().items);
        out += ']';
        break;
      case Kind::kTuple:
        out += '(';
        items(v.list().items);
        out += v.list().items.size() == 1 ? ",)" : ")";
        break;
      case Kind::kDict:
        dict(v.dict());
        break;
      case Kind::kDictView:
        view(v.view());
        break;
      case Kind::kRange:
        range(v.range());
        break;
      case Kind::kNamespace:
        ns(v.ns());
        break;
      case Kind::kLoop:
        out += fmt::format("<LoopContext {}/{}>", v.loop().index0 + 1, v.loop().length());
        break;
      case Kind::kIterator:
        out += "<" + v.iterator().type_name + " object>";
        break;
      case Kind::kCallable:
        out += v.callable().name;
        break;
      case Kind::kCycler:
        out += "<Cycler object>";
        break;
    }
    --depth;
  }
};

}  // namespace

void append_repr(Heap& heap, std::string& out, const Value& v) { Printer{heap, out}.repr(v); }

void append_text(Heap& heap, std::string& out, const Value& v) {
  if (v.is_string()) {
    heap.tick(1 + v.text().size() / 64);
    out += v.text();
  } else if (!v.is_undefined()) {
    append_repr(heap, out, v);
  }
}

std::string to_text(Heap& heap, const Value& v) {
  std::string out;
  append_text(heap, out, v);
  return out;
}

}  // namespace tokamak::jinja

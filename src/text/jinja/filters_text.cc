// Filters on text.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/filters.h"
#include "text/jinja/params.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

// The operand as text that stays marked safe when it was.
Value soft(Evaluator& e, const Value& v) { return v.is_string() ? v : e.string(e.text(v)); }

Value same(Evaluator& e, const Value& operand, std::string text) {
  return make_string(e.heap(), std::move(text), operand.is_string() && operand.string().markup);
}

using TextMap = std::string (*)(std::string_view);
template <TextMap kMap>
Value mapped(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "this filter", args, {});
  const Value text = soft(e, v);
  e.heap().tick(text.text().size() / 16);
  return same(e, v, kMap(text.text()));
}

// Jinja's title: words begin after white space, - ( { [ and <.
std::string title_words(std::string_view text) {
  std::string out;
  size_t word = 0;
  const auto flush = [&](size_t end) {
    if (end == word) return;
    size_t first = word;
    next_code(text, first);
    out += to_upper(text.substr(word, first - word)) + to_lower(text.substr(first, end - first));
  };
  for (size_t pos = 0; pos < text.size();) {
    const size_t start = pos;
    const char32_t c = next_code(text, pos);
    if (!is_space(c) && c != '-' && c != '(' && c != '{' && c != '[' && c != '<') continue;
    flush(start);
    out.append(text, start, pos - start);
    word = pos;
  }
  flush(text.size());
  return out;
}

Value trim(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "trim", args, {"chars"});
  const Value text = soft(e, v);
  e.heap().tick(1 + text.text().size() / 64);
  if (p[0].is_none()) return same(e, v, std::string(strip(text.text(), Sides::kBoth)));
  return same(e, v, std::string(strip(text.text(), Sides::kBoth, p.text(0, ""))));
}

Value replace_filter(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "replace", args, {"old", "new", "count"}, 2);
  const int64_t count = p[2].is_none() ? -1 : p.integer(2, -1);
  return e.string(replace(e.heap(), e.text(v), p.printed(0, ""), p.printed(1, ""), count));
}

Value string_filter(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "string", args, {});
  return soft(e, v);
}

Value safe(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "safe", args, {});
  return make_string(e.heap(), e.text(v), true);
}

Value escape(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "escape", args, {});
  if (v.is_string() && v.string().markup) return v;
  return make_string(e.heap(), escape_html(e.text(v)), true);
}

Value force_escape(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "forceescape", args, {});
  return make_string(e.heap(), escape_html(e.text(v)), true);
}

Value format_filter(Evaluator& e, const Value& v, Arguments& args) {
  Heap& heap = e.heap();
  if (!args.positional.empty() && !args.keywords.empty())
    raise("format takes positional or named arguments, not both");
  if (args.keywords.empty())
    return same(e, v, format_percent(heap, soft(e, v).text(), make_tuple(heap, args.positional)));
  DictBuilder named(heap);
  for (const auto& [name, value] : args.keywords) named.set(e.string(name), value);
  return same(e, v, format_percent(heap, soft(e, v).text(), named.take()));
}

// indent(width=4, first=False, blank=False)
Value indent(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "indent", args, {"width", "first", "blank"});
  if (v.is_undefined()) undefined_used(v);
  if (!v.is_string()) raise("indent needs a str, not {}", type_name(v));
  std::string by;
  if (p[0].is_string()) {
    by = p[0].text();
  } else {
    const int64_t width = p.integer(0, 4);
    e.heap().check_size(static_cast<size_t>(std::max<int64_t>(width, 0)), 1);
    by.assign(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  const std::string text = v.text() + "\n";
  const auto lines = split_lines(text);
  e.heap().tick(1 + text.size() / 16);
  e.heap().check_size(lines.size(), by.size() + 1);
  std::string out = p.boolean(1, false) ? by : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i) out += '\n';
    if (i && (p.boolean(2, false) || !lines[i].empty())) out += by;
    out += lines[i];
  }
  return same(e, v, std::move(out));
}

Value center(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "center", args, {"width"});
  return same(e, v, pad(e.heap(), soft(e, v).text(), p.integer(0, 80), " ", '^'));
}

// truncate(length=255, killwords=False, end='...', leeway=5)
Value truncate(Evaluator& e, const Value& v, Arguments& args) {
  const Params p(e.heap(), "truncate", args, {"length", "killwords", "end", "leeway"});
  const int64_t size = p.integer(0, 255), leeway = p[3].is_none() ? 5 : p.integer(3, 5);
  const std::string end = p.text(2, "...");
  const auto end_size = static_cast<int64_t>(count_codes(end));
  if (size < end_size || leeway < 0)
    raise("truncate: length must be at least {} and leeway not negative", end_size);
  const auto n = length(v);
  if (n && static_cast<int64_t>(*n) - size <= leeway) return v;
  if (!v.is_string()) raise("truncate needs a str, not {}", type_name(v));
  const StringObject& s = v.string();
  std::string cut = s.text.substr(0, byte_offset(s.text, static_cast<size_t>(size - end_size)));
  if (!p.boolean(1, false)) {
    const size_t space = cut.rfind(' ');
    if (space != std::string::npos) cut.resize(space);
  }
  return same(e, v, cut + end);
}

Value word_count(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "wordcount", args, {});
  const std::string text = e.text(v);
  int64_t words = 0;
  bool inside = false;
  for (size_t pos = 0; pos < text.size();) {
    const bool word = is_word(next_code(text, pos));
    words += word && !inside;
    inside = word;
  }
  return Value::integer(words);
}

std::string url_quote(std::string_view text, bool query) {
  std::string out;
  for (char ch : text) {
    const auto c = static_cast<unsigned char>(ch);
    const bool plain = (c < 0x80 && std::isalnum(c)) || c == '_' || c == '.' || c == '-' ||
                       c == '~' || (c == '/' && !query);
    if (plain)
      out += ch;
    else if (c == ' ' && query)
      out += '+';
    else
      out += fmt::format("%{:02X}", c);
  }
  return out;
}

Value url_encode(Evaluator& e, const Value& v, Arguments& args) {
  Params(e.heap(), "urlencode", args, {});
  if (v.is_string() || !iterable(v)) return e.string(url_quote(e.text(v), false));
  const Value pairs =
      v.is(Kind::kDict)
          ? Value(Kind::kDictView, std::make_shared<ViewObject>(e.heap(), v, ViewKind::kItems))
          : v;
  std::string out;
  for (const Value& item : to_vector(e.heap(), pairs)) {
    const auto pair = to_vector(e.heap(), item);
    if (pair.size() != 2) raise("urlencode needs pairs");
    if (!out.empty()) out += '&';
    out += url_quote(e.text(pair[0]), true) + "=" + url_quote(e.text(pair[1]), true);
  }
  return e.string(std::move(out));
}

constexpr FilterEntry kFilters[] = {
    {"upper", mapped<to_upper>},
    {"lower", mapped<to_lower>},
    {"title", mapped<title_words>},
    {"capitalize", mapped<to_capitalized>},
    {"trim", trim},
    {"replace", replace_filter},
    {"string", string_filter},
    {"safe", safe},
    {"escape", escape},
    {"e", escape},
    {"forceescape", force_escape},
    {"format", format_filter},
    {"indent", indent},
    {"center", center},
    {"truncate", truncate},
    {"wordcount", word_count},
    {"urlencode", url_encode},
    {"tojson", to_json_filter},
};

}  // namespace

std::span<const FilterEntry> text_filters() { return kFilters; }

}  // namespace tokamak::jinja

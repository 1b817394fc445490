// Methods of str.
#include <algorithm>
#include <unordered_map>

#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/params.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace tokamak::jinja {

namespace {

Value result(Heap& heap, const Value& self, std::string text) {
  return make_string(heap, std::move(text), self.string().markup);
}

using TextMap = std::string (*)(std::string_view);
template <TextMap kMap>
Value mapped(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "this method", args, {});
  heap.tick(self.text().size() / 16);
  return result(heap, self, kMap(self.text()));
}

std::string casefolded(std::string_view text) {
  std::string out = to_lower(text);  // full case folding differs for a few letters
  size_t at = 0;
  while ((at = out.find("ß", at)) != std::string::npos) out.replace(at, 2, "ss");
  at = 0;
  while ((at = out.find("ς", at)) != std::string::npos) out.replace(at, 2, "σ");
  return out;
}

// True when the text is not empty and every character is of the class.
template <bool (*kClass)(char32_t)>
Value all_of(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "this method", args, {});
  const std::string& text = self.text();
  heap.tick(text.size() / 16);
  for (size_t pos = 0; pos < text.size();)
    if (!kClass(next_code(text, pos))) return Value::boolean(false);
  return Value::boolean(!text.empty());
}

Value is_ascii(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "isascii", args, {});
  return Value::boolean(self.string().ascii());
}
Value is_printable_text(Heap& heap, const Value& self, Arguments& args) {
  if (self.text().empty()) return Value::boolean(true);
  return all_of<is_printable>(heap, self, args);
}
Value is_identifier(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "isidentifier", args, {});
  const std::u32string codes = decode_utf8(self.text());
  bool ok = !codes.empty() && !is_decimal(codes[0]);
  for (char32_t c : codes) ok = ok && is_identifier_part(c);
  return Value::boolean(ok);
}

// islower, isupper: at least one cased character, and none of the other case.
template <bool kUpper>
Value is_case(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "this method", args, {});
  return Value::boolean(text_is_case(self.text(), kUpper));
}

Value is_title_text(Heap& heap, const Value& self, Arguments& args) {
  Params(heap, "istitle", args, {});
  bool cased = false, previous = false;
  for (char32_t c : decode_utf8(self.text())) {
    if (is_upper(c) || is_title(c)) {
      if (previous) return Value::boolean(false);
      previous = cased = true;
    } else if (is_lower(c)) {
      if (!previous) return Value::boolean(false);
      previous = cased = true;
    } else {
      previous = false;
    }
  }
  return Value::boolean(cased);
}

template <Sides kSides>
Value strip_method(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("strip", args);
  const Params p(heap, "strip", args, {"chars"});
  heap.tick(1 + self.text().size() / 64);
  if (p[0].is_none()) return result(heap, self, std::string(strip(self.text(), kSides)));
  return result(heap, self, std::string(strip(self.text(), kSides, p.text(0, ""))));
}

std::vector<std::string_view> split_space(std::string_view text, int64_t limit, bool from_right) {
  std::vector<std::string_view> parts;
  text = strip(text, from_right ? Sides::kRight : Sides::kLeft);
  while (!text.empty()) {
    if (limit-- == 0) {
      parts.push_back(strip(text, from_right ? Sides::kRight : Sides::kLeft));
      break;
    }
    if (from_right) {
      size_t start = text.size();
      while (start > 0 && trailing_space(text.substr(0, start)) == 0) {
        --start;
        while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
      }
      parts.push_back(text.substr(start));
      text = strip(text.substr(0, start), Sides::kRight);
    } else {
      size_t end = 0;
      for (size_t pos = 0; pos < text.size() && !is_space(next_code(text, pos));) end = pos;
      parts.push_back(text.substr(0, end));
      text = strip(text.substr(end), Sides::kLeft);
    }
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> split_text(std::string_view text, std::string_view by, int64_t limit,
                                         bool from_right) {
  std::vector<std::string_view> parts;
  for (; limit != 0; --limit) {
    const size_t at = from_right ? text.rfind(by) : text.find(by);
    if (at == std::string_view::npos) break;
    if (from_right) {
      parts.push_back(text.substr(at + by.size()));
      text = text.substr(0, at);
    } else {
      parts.push_back(text.substr(0, at));
      text.remove_prefix(at + by.size());
    }
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

template <bool kFromRight>
Value split(Heap& heap, const Value& self, Arguments& args) {
  const Params p(heap, "split", args, {"sep", "maxsplit"});
  const int64_t limit = p.integer(1, -1);
  heap.tick(1 + self.text().size() / 16);
  if (p[0].is_none()) return strings_to_list(heap, split_space(self.text(), limit, kFromRight));
  const std::string by = p.text(0, "");
  if (by.empty()) raise("split needs a separator that is not empty");
  return strings_to_list(heap, split_text(self.text(), by, limit, kFromRight));
}

Value split_lines_method(Heap& heap, const Value& self, Arguments& args) {
  const Params p(heap, "splitlines", args, {"keepends"});
  heap.tick(1 + self.text().size() / 16);
  return strings_to_list(heap, split_lines(self.text(), p.boolean(0, false)));
}

template <bool kFromRight>
Value partition(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("partition", args);
  const Params p(heap, "partition", args, {"sep"}, 1);
  const std::string by = p.text(0, "");
  if (by.empty()) raise("partition needs a separator that is not empty");
  const std::string& text = self.text();
  const size_t at = kFromRight ? text.rfind(by) : text.find(by);
  const auto part = [&](std::string s) { return make_string(heap, std::move(s)); };
  if (at == std::string::npos) {
    if (kFromRight) return make_tuple(heap, {part(""), part(""), part(text)});
    return make_tuple(heap, {part(text), part(""), part("")});
  }
  return make_tuple(heap, {part(text.substr(0, at)), part(by), part(text.substr(at + by.size()))});
}

// The bytes of self[start:end] and its first code point's index; nothing when start is beyond the
// end.
struct Window {
  std::string_view text;
  int64_t first;
};
std::optional<Window> window(const Value& self, const Params& p, size_t at) {
  const StringObject& s = self.string();
  const auto n = static_cast<int64_t>(s.length);
  const auto bound = [&](size_t i, int64_t otherwise) {
    const int64_t v = p[i].is_none() ? otherwise : p.integer(i, otherwise);
    return v < 0 ? std::max<int64_t>(0, v + n) : v;
  };
  const int64_t start = bound(at, 0), stop = std::min(bound(at + 1, n), n);
  if (start > n || start > stop) return std::nullopt;
  std::string_view text = s.text;
  const auto offset = [&](int64_t i) {
    return s.ascii() ? static_cast<size_t>(i) : byte_offset(text, static_cast<size_t>(i));
  };
  const size_t from = offset(start), to = offset(stop);
  return Window{text.substr(from, to - from), start};
}

template <bool kEnd>
Value starts_ends(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("startswith", args);
  const Params p(heap, kEnd ? "endswith" : "startswith", args, {"prefix", "start", "end"}, 1);
  const auto w = window(self, p, 1);
  const auto test = [&](const Value& v) {
    if (!v.is_string())
      raise("{} needs a str or a tuple of str, not {}", kEnd ? "endswith" : "startswith",
            type_name(v));
    return w && (kEnd ? w->text.ends_with(v.text()) : w->text.starts_with(v.text()));
  };
  if (!p[0].is(Kind::kTuple)) return Value::boolean(test(p[0]));
  for (const Value& v : p[0].list().items)
    if (test(v)) return Value::boolean(true);
  return Value::boolean(false);
}

// find, rfind, index, rindex.
template <bool kFromRight, bool kMustExist>
Value find(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("find", args);
  const Params p(heap, "find", args, {"sub", "start", "end"}, 1);
  const std::string sub = p.text(0, "");
  heap.tick(1 + self.text().size() / 64);
  if (const auto w = window(self, p, 1)) {
    const size_t at = kFromRight ? w->text.rfind(sub) : w->text.find(sub);
    if (at != std::string_view::npos)
      return Value::integer(w->first + static_cast<int64_t>(count_codes(w->text.substr(0, at))));
  }
  if (kMustExist) raise("the text is not found");
  return Value::integer(-1);
}

Value count(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("count", args);
  const Params p(heap, "count", args, {"sub", "start", "end"}, 1);
  const std::string sub = p.text(0, "");
  const auto w = window(self, p, 1);
  heap.tick(1 + self.text().size() / 64);
  if (!w) return Value::integer(0);
  if (sub.empty()) return Value::integer(static_cast<int64_t>(count_codes(w->text)) + 1);
  int64_t n = 0;
  for (size_t at = w->text.find(sub); at != std::string_view::npos;
       at = w->text.find(sub, at + sub.size()))
    ++n;
  return Value::integer(n);
}

Value replace_method(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("replace", args);
  const Params p(heap, "replace", args, {"old", "new", "count"}, 2);
  return result(heap, self,
                replace(heap, self.text(), p.text(0, ""), p.text(1, ""), p.integer(2, -1)));
}

template <bool kSuffix>
Value remove_end(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("removeprefix", args);
  const Params p(heap, "removeprefix", args, {"prefix"}, 1);
  std::string_view text = self.text();
  const std::string end = p.text(0, "");
  if (kSuffix && text.ends_with(end)) text.remove_suffix(end.size());
  if (!kSuffix && text.starts_with(end)) text.remove_prefix(end.size());
  return result(heap, self, std::string(text));
}

Value join(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("join", args);
  const Params p(heap, "join", args, {"iterable"}, 1);
  std::string out;
  bool first = true;
  for (const Value& v : to_vector(heap, p[0])) {
    if (!v.is_string()) raise("join needs strings, found {}", type_name(v));
    if (!std::exchange(first, false)) out += self.text();
    out += v.text();
    heap.tick(1 + v.text().size() / 64);
    heap.check_size(out.size(), 1);
  }
  return result(heap, self, std::move(out));
}

template <char kAlign>
Value justify(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("center", args);
  const Params p(heap, "center", args, {"width", "fillchar"}, 1);
  const std::string fill = p.text(1, " ");
  if (count_codes(fill) != 1) raise("the fill must be one character");
  return result(heap, self, pad(heap, self.text(), p.integer(0, 0), fill, kAlign));
}

Value zfill(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("zfill", args);
  const Params p(heap, "zfill", args, {"width"}, 1);
  std::string_view text = self.text();
  std::string sign;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    sign = text[0];
    text.remove_prefix(1);
  }
  const int64_t width = std::max<int64_t>(p.integer(0, 0), 0) - static_cast<int64_t>(sign.size());
  return result(heap, self, sign + pad(heap, text, width, "0", '>'));
}

Value expand_tabs(Heap& heap, const Value& self, Arguments& args) {
  const Params p(heap, "expandtabs", args, {"tabsize"});
  const int64_t size = p.integer(0, 8);
  if (size > 1000) raise("expandtabs: {} columns are too many", size);
  std::string out;
  int64_t column = 0;
  for (size_t pos = 0; pos < self.text().size();) {
    const size_t start = pos;
    const char32_t c = next_code(self.text(), pos);
    if (c == '\t') {
      const int64_t fill = size > 0 ? size - column % size : 0;
      out.append(static_cast<size_t>(fill), ' ');
      column += fill;
      heap.check_size(out.size(), 1);
      continue;
    }
    out.append(self.text(), start, pos - start);
    column = c == '\n' || c == '\r' ? 0 : column + 1;
  }
  return result(heap, self, std::move(out));
}

Value format_method(Heap& heap, const Value& self, Arguments& args) {
  return result(heap, self, format_braces(heap, self.text(), args));
}
Value format_map(Heap& heap, const Value& self, Arguments& args) {
  no_keywords("format_map", args);
  const Params p(heap, "format_map", args, {"mapping"}, 1);
  if (!p[0].is(Kind::kDict)) raise("format_map needs a dict, not {}", type_name(p[0]));
  Arguments named;
  for (const auto& [key, value] : p[0].dict().entries)
    if (key.is_string()) named.keywords.emplace_back(key.text(), value);
  return result(heap, self, format_braces(heap, self.text(), named));
}

const std::unordered_map<std::string_view, Method>& methods() {
  static const std::unordered_map<std::string_view, Method> map = {
      {"capitalize", mapped<to_capitalized>},
      {"casefold", mapped<casefolded>},
      {"center", justify<'^'>},
      {"count", count},
      {"endswith", starts_ends<true>},
      {"expandtabs", expand_tabs},
      {"find", find<false, false>},
      {"format", format_method},
      {"format_map", format_map},
      {"index", find<false, true>},
      {"isalnum", all_of<is_alnum>},
      {"isalpha", all_of<is_alpha>},
      {"isascii", is_ascii},
      {"isdecimal", all_of<is_decimal>},
      {"isdigit", all_of<is_digit>},
      {"isidentifier", is_identifier},
      {"islower", is_case<false>},
      {"isnumeric", all_of<is_numeric>},
      {"isprintable", is_printable_text},
      {"isspace", all_of<is_space>},
      {"istitle", is_title_text},
      {"isupper", is_case<true>},
      {"join", join},
      {"ljust", justify<'<'>},
      {"lower", mapped<to_lower>},
      {"lstrip", strip_method<Sides::kLeft>},
      {"partition", partition<false>},
      {"removeprefix", remove_end<false>},
      {"removesuffix", remove_end<true>},
      {"replace", replace_method},
      {"rfind", find<true, false>},
      {"rindex", find<true, true>},
      {"rjust", justify<'>'>},
      {"rpartition", partition<true>},
      {"rsplit", split<true>},
      {"rstrip", strip_method<Sides::kRight>},
      {"split", split<false>},
      {"splitlines", split_lines_method},
      {"startswith", starts_ends<false>},
      {"strip", strip_method<Sides::kBoth>},
      {"swapcase", mapped<to_swapped_case>},
      {"title", mapped<to_title>},
      {"upper", mapped<to_upper>},
      {"zfill", zfill},
  };
  return map;
}

}  // namespace

bool text_is_case(std::string_view text, bool upper) {
  bool found = false;
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = next_code(text, pos);
    if (is_title(c) || (upper ? is_lower(c) : is_upper(c))) return false;
    found = found || (upper ? is_upper(c) : is_lower(c));
  }
  return found;
}

Method find_string_method(std::string_view name) {
  const auto it = methods().find(name);
  return it == methods().end() ? nullptr : it->second;
}

}  // namespace tokamak::jinja

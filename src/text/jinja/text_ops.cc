#include "text/jinja/text_ops.h"

#include <algorithm>

#include "text/jinja/unicode.h"

namespace tokamak::jinja {

std::string_view strip(std::string_view text, Sides sides) {
  if (static_cast<int>(sides) & 1) text.remove_prefix(leading_space(text));
  if (static_cast<int>(sides) & 2) text.remove_suffix(trailing_space(text));
  return text;
}

std::string_view strip(std::string_view text, Sides sides, std::string_view chars) {
  const std::u32string set = decode_utf8(chars);
  const auto member = [&](size_t pos) {
    return set.find(next_code(text, pos)) != std::u32string::npos;
  };
  if (static_cast<int>(sides) & 1) {
    size_t pos = 0;
    while (pos < text.size() && member(pos)) next_code(text, pos);
    text.remove_prefix(pos);
  }
  if (static_cast<int>(sides) & 2) {
    while (!text.empty()) {
      size_t start = text.size() - 1;
      while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
      if (!member(start)) break;
      text.remove_suffix(text.size() - start);
    }
  }
  return text;
}

std::string replace(Heap& heap, std::string_view text, std::string_view from, std::string_view to,
                    int64_t count) {
  std::string out;
  heap.tick(1 + text.size() / 64);
  const auto append = [&](std::string_view part) {
    heap.check_size(out.size() + part.size(), 1);
    out += part;
  };
  size_t pos = 0;
  if (from.empty()) {  // before every character and at the end
    for (; count != 0; --count) {
      append(to);
      if (pos >= text.size()) break;
      const size_t start = pos;
      next_code(text, pos);
      append(text.substr(start, pos - start));
    }
    append(text.substr(pos));
    return out;
  }
  for (; count != 0; --count) {
    const size_t found = text.find(from, pos);
    if (found == std::string_view::npos) break;
    append(text.substr(pos, found - pos));
    append(to);
    pos = found + from.size();
  }
  append(text.substr(pos));
  return out;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t at = pos;
    const char32_t c = next_code(text, pos);
    const bool end = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                     c == 0x2028 || c == 0x2029;
    if (!end) continue;
    if (c == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    lines.push_back(text.substr(start, (keep_ends ? pos : at) - start));
    start = pos;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::string pad(Heap& heap, std::string_view text, int64_t width, std::string_view fill,
                char align) {
  const auto n = static_cast<int64_t>(count_codes(text));
  if (width <= n) return std::string(text);
  const auto total = static_cast<size_t>(width - n);
  heap.check_size(total, std::max<size_t>(fill.size(), 1));
  heap.tick(total / 16);
  // str.center puts the odd character to the left only when the width is odd.
  size_t left = align == '<' ? 0 : align == '>' ? total : total / 2;
  if (align == '^' && (total & 1) && (width & 1)) ++left;
  if (align == '=') left = total / 2;  // format()'s '^': the odd character goes to the right
  std::string out;
  for (size_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (size_t i = left; i < total; ++i) out += fill;
  return out;
}

Value strings_to_list(Heap& heap, const std::vector<std::string_view>& parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (std::string_view part : parts) {
    heap.tick();
    items.push_back(make_string(heap, std::string(part)));
  }
  return make_list(heap, std::move(items));
}

}  // namespace tokamak::jinja

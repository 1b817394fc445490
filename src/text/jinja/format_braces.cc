// str.format.
#include <algorithm>

#include "text/jinja/evaluator.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"

namespace tokamak::jinja {

namespace {

class BraceFormatter {
 public:
  BraceFormatter(Heap& heap, const Arguments& args) : heap_(heap), args_(args) {}

  std::string run(std::string_view format, int depth) {
    if (depth > 2) raise("a format is nested too deeply");
    std::string out;
    for (size_t pos = 0; pos < format.size();) {
      const char c = format[pos++];
      if (c != '{' && c != '}') {
        out += c;
      } else if (pos < format.size() && format[pos] == c) {
        out += c;
        ++pos;
      } else if (c == '}') {
        raise("a format has a single '}}'");
      } else {
        const size_t end = field_end(format, pos);
        out += field(format.substr(pos, end - pos), depth);
        pos = end + 1;
      }
      heap_.check_size(out.size(), 1);
    }
    return out;
  }

 private:
  static size_t field_end(std::string_view format, size_t pos) {
    int open = 1;
    for (; pos < format.size(); ++pos) {
      if (format[pos] == '{') ++open;
      if (format[pos] == '}' && --open == 0) return pos;
    }
    raise("a format has a '{{' that is not closed");
  }

  // path[!r|!s][:spec]
  std::string field(std::string_view text, int depth) {
    heap_.tick(1 + text.size() / 16);
    size_t end = 0;
    bool bracket = false;
    for (; end < text.size(); ++end) {
      bracket = text[end] == '[' || (bracket && text[end] != ']');
      if (!bracket && (text[end] == '!' || text[end] == ':')) break;
    }
    Value v = lookup(text.substr(0, end));
    std::string_view rest = text.substr(end);
    if (rest.starts_with('!')) {
      v = converted(v, rest);
      rest.remove_prefix(2);
    }
    if (rest.starts_with(':')) rest.remove_prefix(1);
    return format_value(heap_, v, run(rest, depth + 1));
  }

  Value converted(const Value& v, std::string_view rest) {
    if (rest.size() < 2 || (rest.size() > 2 && rest[2] != ':'))
      raise("a conversion in a format is malformed");
    if (rest[1] != 'r' && rest[1] != 's') raise("conversion '!{}' is not available", rest[1]);
    std::string shown;
    if (rest[1] == 'r')
      append_repr(heap_, shown, v);
    else
      append_text(heap_, shown, v);
    return make_string(heap_, std::move(shown));
  }

  Value lookup(std::string_view path) {
    size_t end = std::min(path.find_first_of(".["), path.size());
    Value v = first(path.substr(0, end));
    while (end < path.size()) {
      if (path[end] == '.') {
        const size_t stop = std::min(path.find_first_of(".[", end + 1), path.size());
        v = get_attribute(heap_, v, path.substr(end + 1, stop - end - 1));
        end = stop;
        continue;
      }
      const size_t close = path.find(']', end);
      if (path[end] != '[' || close == std::string_view::npos)
        raise("a field in a format is malformed");
      const std::string_view key = path.substr(end + 1, close - end - 1);
      v = get_item(heap_, v,
                   is_index(key) ? Value::integer(*parse_int(key, 10))
                                 : make_string(heap_, std::string(key)));
      end = close + 1;
    }
    return v;
  }

  static bool is_index(std::string_view key) {
    return !key.empty() && key.size() < 18 &&
           std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
  }

  const Value& first(std::string_view name) {
    if (name.empty() || is_index(name)) {
      if (name.empty() ? numbered_ : automatic_)
        raise("a format mixes numbered and unnumbered fields");
      (name.empty() ? automatic_ : numbered_) = true;
      const size_t i = name.empty() ? next_++ : static_cast<size_t>(*parse_int(name, 10));
      if (i >= args_.positional.size())
        raise("a format needs more than {} arguments", args_.positional.size());
      return args_.positional[i];
    }
    for (const auto& [key, value] : args_.keywords)
      if (key == name) return value;
    raise("a format needs argument '{}'", name);
  }

  Heap& heap_;
  const Arguments& args_;
  size_t next_ = 0;
  bool automatic_ = false, numbered_ = false;
};

}  // namespace

std::string format_braces(Heap& heap, std::string_view format, const Arguments& args) {
  return BraceFormatter(heap, args).run(format, 0);
}

}  // namespace tokamak::jinja

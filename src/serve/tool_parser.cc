#include "serve/tool_parser.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"

namespace tokamak::serve {
namespace {

bool blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// How much of the end of `text` may be the beginning of `mark`.
size_t may_begin(std::string_view text, std::string_view mark) {
  for (size_t n = std::min(text.size(), mark.empty() ? 0 : mark.size() - 1); n > 0; --n)
    if (text.ends_with(mark.substr(0, n))) return n;
  return 0;
}

// The text of a JSON string; none when it is no such.
std::optional<std::string> string_of(const std::string& json) {
  const Json v = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!v.is_string()) return std::nullopt;
  return v.get<std::string>();
}

}  // namespace

bool CallScanner::feed(char c) {
  switch (state_) {
    case State::begin:
      state_ = State::key_or_end;
      return c == '{';
    case State::key_or_end:
      if (blank(c) || c == ',') return true;
      if (c == '}') {
        if (!any_arguments_) arguments_ += "{}";
        state_ = State::done;
        return !name_.empty();
      }
      key_.assign(1, '"');
      state_ = State::key;
      return c == '"';
    case State::key:
      key_ += c;
      if (!escaped_ && c == '"') state_ = State::colon;
      escaped_ = !escaped_ && c == '\\';
      return true;
    case State::colon:
      if (c == ':') state_ = State::before_value;
      return blank(c) || c == ':';
    case State::before_value: {
      if (blank(c)) return true;
      key_ = string_of(key_).value_or("");
      value_.clear();
      depth_ = 0;
      in_string_ = escaped_ = false;
      streams_ = key_ == key_of_arguments_ && c == '{';
      state_ = State::value;
      return value(c);
    }
    case State::value:
      return value(c);
    case State::done:
      break;
  }
  return false;
}

bool CallScanner::value(char c) {
  const bool ends_scalar = !in_string_ && depth_ == 0 && !value_.empty();
  if (ends_scalar && (c == ',' || c == '}')) return end_value() && feed(c);
  value_ += c;
  if (streams_) arguments_ += c;
  if (in_string_) {
    if (!escaped_ && c == '"') in_string_ = false;
    escaped_ = !escaped_ && c == '\\';
    return true;
  }
  if (c == '"') in_string_ = true;
  if (c == '{' || c == '[') ++depth_;
  if (c == '}' || c == ']') {
    if (--depth_ < 0) return false;
    if (depth_ == 0) return end_value();
  }
  return true;
}

bool CallScanner::end_value() {
  state_ = State::key_or_end;
  if (key_ == "name") {
    name_ = string_of(value_).value_or("");
    return !name_.empty();
  }
  if (key_ != key_of_arguments_) return true;
  any_arguments_ = true;
  if (streams_) return true;
  // Some models write the arguments as text that holds JSON.
  arguments_ += string_of(value_).value_or("{}");
  return true;
}

std::string CallScanner::take_arguments() { return std::exchange(arguments_, {}); }

ToolParser::ToolParser(ToolFormat format, bool begun)
    : format_(std::move(format)), inside_(begun && !format_.begin().empty()) {}

ToolNews ToolParser::push(std::string_view text) {
  ToolNews news;
  rest_ += text;
  while (!rest_.empty() && (inside_ ? inside(news) : outside(news))) {
  }
  return news;
}

ToolNews ToolParser::finish() {
  ToolNews news;
  if (call_ && !told_) say(raw_, news);
  if (!call_) {
    if (!inside_) say(rest_, news);
    if (calls_ == 0) news.content += space_;
  }
  rest_.clear();
  return news;
}

// White space is held back until it is clear that no call follows.
void ToolParser::say(std::string_view text, ToolNews& news) {
  space_ += text;
  size_t end = space_.size();
  while (end > 0 && blank(space_[end - 1])) --end;
  if (end == 0) return;
  at_start_ = false;
  news.content += space_.substr(0, end);
  space_.erase(0, end);
}

bool ToolParser::outside(ToolNews& news) {
  if (format_.bare && at_start_) {
    size_t i = 0;
    while (i < rest_.size() && blank(rest_[i])) ++i;
    if (i == rest_.size()) return false;
    if (rest_[i] == '{') {
      rest_.erase(0, i);
      return inside_ = true;
    }
  }
  const size_t at = rest_.find(format_.open);
  if (at != std::string::npos) {
    say(std::string_view(rest_).substr(0, at), news);
    space_.clear();
    rest_.erase(0, at + format_.open.size());
    return inside_ = true;
  }
  const size_t held = may_begin(rest_, format_.open);
  say(std::string_view(rest_).substr(0, rest_.size() - held), news);
  rest_.erase(0, rest_.size() - held);
  return false;
}

bool ToolParser::inside(ToolNews& news) {
  if (call_) return scan(news);
  for (const std::string& mark : {format_.close, format_.open}) {
    if (mark.empty()) continue;
    if (rest_.starts_with(mark)) {
      rest_.erase(0, mark.size());
      inside_ = mark == format_.open;
      return true;
    }
    if (mark.starts_with(rest_)) return false;
  }
  const char c = rest_[0];
  if (c == '{') {
    call_.emplace(format_.arguments);
    raw_.clear();
    told_ = false;
    return true;
  }
  if (blank(c) || c == ',' || c == ';' || (format_.list && (c == '[' || c == ']'))) {
    rest_.erase(0, 1);
    return true;
  }
  inside_ = false;  // text again
  at_start_ = false;
  return true;
}

bool ToolParser::scan(ToolNews& news) {
  size_t i = 0;
  bool good = true;
  while (i < rest_.size() && good && !call_->done()) good = call_->feed(rest_[i++]);
  raw_ += rest_.substr(0, i);
  rest_.erase(0, i);
  if (good) tell(news);
  if (good && !call_->done()) return false;
  if (!good && !told_) {
    say(raw_, news);
    at_start_ = false;
  }
  inside_ = good;
  call_.reset();
  return true;
}

void ToolParser::tell(ToolNews& news) {
  if (call_->name().empty()) return;
  ToolNews::Call c;
  if (!told_) {
    c.name = call_->name();
    ++calls_;
  }
  c.index = calls_ - 1;
  c.arguments = call_->take_arguments();
  if (told_ && c.arguments.empty()) return;
  told_ = true;
  news.calls.push_back(std::move(c));
}

}  // namespace tokamak::serve

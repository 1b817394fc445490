#include "serve/call.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "serve/engine_room.h"

namespace tokamak::serve {
namespace {

// A client's own id is taken when it can stand in a header and a log line.
bool usable_id(std::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  for (const char c : id)
    if (c <= ' ' || c >= 127 || c == '"' || c == '\\') return false;
  return true;
}

}  // namespace

std::string to_text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

int64_t unix_time() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string random_id(std::string_view prefix) {
  thread_local std::mt19937_64 random{std::random_device{}()};
  static constexpr char kLetters[] = "0123456789abcdefghijklmnopqrstuv";
  std::string id(prefix);
  for (int i = 0; i < 2; ++i) {
    uint64_t bits = random();
    for (int j = 0; j < 12; ++j, bits >>= 5) id += kLetters[bits & 31];
  }
  return id;
}

Call::Call(HttpRequest request, std::shared_ptr<Reply> reply, Headers headers, Settings settings)
    : request_(std::move(request)),
      reply_(std::move(reply)),
      headers_(std::move(headers)),
      settings_(settings),
      start_s_(now_s()) {
  const std::string_view given = request_.header("x-request-id");
  id_ = usable_id(given) ? std::string(given) : random_id("req-");
  headers_.emplace_back("X-Request-Id", id_);
}

Call::~Call() {
  if (!settings_.log) return;
  const double ms = 1e3 * (now_s() - start_s_);
  Json line = {{"event", "request"},       {"id", id_},         {"method", request_.method},
               {"path", request_.path},    {"status", status_}, {"ms", std::round(ms * 10) / 10},
               {"remote", request_.remote}};
  if (prompt_tokens_ >= 0) {
    line["prompt_tokens"] = prompt_tokens_;
    line["completion_tokens"] = completion_tokens_;
  }
  log_request(line, settings_.log_json);
}

void log_request(const Json& line, bool as_json) {
  if (as_json) {
    std::fprintf(stderr, "%s\n", to_text(line).c_str());
    return;
  }
  std::string text;
  for (const auto& [key, value] : line.items())
    if (key != "event") text += fmt::format(" {}={}", key, to_text(value));
  std::fprintf(stderr, "request%s\n", text.c_str());
}

void Call::note_usage(int64_t prompt_tokens, int64_t completion_tokens) {
  prompt_tokens_ = prompt_tokens;
  completion_tokens_ = completion_tokens;
}

Json Call::parse_body(std::string_view text) {
  try {
    return parse_json(text, "the body");
  } catch (const Error& e) {
    throw ApiError(400, e.what(), {}, "invalid_json");
  }
}

OrderedJson Call::ordered_body() const {
  try {
    return parse_ordered_json(request_.body, "the body");
  } catch (const Error& e) {
    throw ApiError(400, e.what(), {}, "invalid_json");
  }
}

void Call::text(int status, std::string_view type, std::string text, Headers more) {
  if (status_ != 0) return;
  status_ = status;
  if (settings_.metrics) settings_.metrics->answered(status);
  Headers headers = headers_;
  headers.insert(headers.end(), more.begin(), more.end());
  reply_->send(status, type, std::move(text), std::move(headers));
}

void Call::json(int status, const Json& json, Headers more) {
  text(status, "application/json", to_text(json), std::move(more));
}

void Call::error(const ApiError& e) {
  const bool openai = error_style_ == ErrorStyle::openai;
  const Json body = openai
                        ? error_object(e.status, e.what(), e.param, e.code)
                        : Json{{"type", "error"},
                               {"error", {{"type", error_type(e.status)}, {"message", e.what()}}}};
  if (streams_) {
    event(body, openai ? "" : "error");
    return end_events();
  }
  Headers more;
  if (e.status == 429 || e.status == 503) more.emplace_back("Retry-After", "1");
  if (e.status == 401) more.emplace_back("WWW-Authenticate", "Bearer");
  json(e.status, body, std::move(more));
}

void Call::begin_events() {
  if (status_ != 0) return;
  status_ = 200;
  streams_ = true;
  if (settings_.metrics) settings_.metrics->answered(200);
  Headers headers = headers_;
  headers.emplace_back("Cache-Control", "no-cache");
  headers.emplace_back("X-Accel-Buffering", "no");
  reply_->begin(200, "text/event-stream; charset=utf-8", std::move(headers));
}

void Call::event(const std::string& data, std::string_view name) {
  if (!streams_) return;
  reply_->write(name.empty() ? fmt::format("data: {}\n\n", data)
                             : fmt::format("event: {}\ndata: {}\n\n", name, data));
}

void Call::event(const Json& data, std::string_view name) { event(to_text(data), name); }

void Call::end_events() {
  if (!streams_) return;
  streams_ = false;
  reply_->end();
}

}  // namespace tokamak::serve

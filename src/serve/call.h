// One HTTP request on its way to an answer: its id, its log line, JSON, server-sent events, errors.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "serve/api_error.h"
#include "serve/http.h"
#include "serve/metrics.h"

namespace tokamak::serve {

enum class ErrorStyle : uint8_t { openai, anthropic };

class Call {
 public:
  struct Settings {
    Metrics* metrics = nullptr;
    bool log = true, log_json = false;
  };
  Call(HttpRequest request, std::shared_ptr<Reply> reply, Headers headers, Settings settings);
  ~Call();  // writes the log line
  Call(const Call&) = delete;

  const HttpRequest& request() const { return request_; }
  const std::shared_ptr<Reply>& reply() const { return reply_; }
  const std::string& id() const { return id_; }
  void note_usage(int64_t prompt_tokens, int64_t completion_tokens);

  Json body() const { return parse_body(request_.body); }
  static Json parse_body(std::string_view text);  // ApiError 400 when it is not JSON
  OrderedJson ordered_body() const;               // the same, keys as written
  void json(int status, const Json& json, Headers more = {});
  void text(int status, std::string_view type, std::string text, Headers more = {});
  void error(const ApiError& e);
  void set_error_style(ErrorStyle style) { error_style_ = style; }

  // Server-sent events. An error after the first one is an event too.
  void begin_events();
  void event(const std::string& data, std::string_view name = {});
  void event(const Json& data, std::string_view name = {});
  void end_events();

 private:
  HttpRequest request_;
  std::shared_ptr<Reply> reply_;
  Headers headers_;
  Settings settings_;
  std::string id_;
  double start_s_;
  int status_ = 0;
  bool streams_ = false;
  ErrorStyle error_style_ = ErrorStyle::openai;
  int64_t prompt_tokens_ = -1, completion_tokens_ = -1;
};

// One line on standard error: `line` itself, or its fields as key=value.
void log_request(const Json& line, bool as_json);
std::string to_text(const Json& json);  // UTF-8 that does not hold becomes U+FFFD
int64_t unix_time();
// A new id: prefix and 24 random characters.
std::string random_id(std::string_view prefix);

}  // namespace tokamak::serve

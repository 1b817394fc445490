// A small HTTP client that notes when each server-sent event comes. One connection per request,
// plain HTTP, blocking: for measuring servers.
#pragma once
#include <string>
#include <vector>

namespace tokamak::serve {

struct Target {
  std::string host, port, path;  // path: in front of every endpoint, without a slash at its end
};
Target parse_url(const std::string& url);  // Error unless http://HOST[:PORT][/PATH]

struct TimedEvent {
  double at_s;       // since the request was sent
  std::string data;  // after "data: "
};
struct TimedAnswer {
  int status = 0;
  std::string head;                // status line and headers, lower case
  std::string body;                // of answers that are no event streams
  std::vector<TimedEvent> events;  // of those that are
  double total_s = 0;
  std::string error;  // of the connection
};

TimedAnswer ask(const Target& target, const std::string& method, const std::string& endpoint,
                const std::string& body, const std::string& api_key, double timeout_s,
                const std::vector<std::string>& headers = {});  // "NAME: VALUE"

}  // namespace tokamak::serve

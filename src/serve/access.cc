#include "serve/access.h"

#include <algorithm>

namespace tokamak::serve {

bool equal_in_constant_time(std::string_view given, std::string_view secret) {
  volatile unsigned char difference = given.size() != secret.size();
  for (size_t i = 0; i < given.size(); ++i) {
    const char expected = secret.empty() ? '\0' : secret[i % secret.size()];
    difference = difference | static_cast<unsigned char>(given[i] ^ expected);
  }
  return difference == 0;
}

bool Access::knows_key(const HttpRequest& request) const {
  std::string_view given = request.header("authorization");
  if (given.starts_with("Bearer "))
    given.remove_prefix(7);
  else
    given = request.header("x-api-key");
  bool known = false;
  for (const std::string& key : keys_)  // all of them: no early end
    known = equal_in_constant_time(given, key) || known;
  return known;
}

Access::Verdict Access::check(const HttpRequest& request, bool open) const {
  Verdict v;
  const std::string_view origin = request.header("origin");
  const bool any = std::ranges::count(origins_, "*") > 0;
  if (!origin.empty() && (any || std::ranges::count(origins_, origin) > 0)) {
    v.headers.emplace_back("Access-Control-Allow-Origin", any ? "*" : std::string(origin));
    v.headers.emplace_back("Access-Control-Expose-Headers", "X-Request-Id");
    if (!any) v.headers.emplace_back("Vary", "Origin");
    if (request.method == "OPTIONS" && !request.header("access-control-request-method").empty()) {
      v.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
      v.headers.emplace_back("Access-Control-Allow-Headers",
                             std::string(request.header("access-control-request-headers")));
      v.headers.emplace_back("Access-Control-Max-Age", "600");
      v.preflight = true;
      return v;
    }
  }
  if (!open && !keys_.empty() && !knows_key(request))
    v.error = "a valid API key is needed: Authorization: Bearer KEY";
  return v;
}

}  // namespace tokamak::serve

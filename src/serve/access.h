// Who may ask: API keys, and web pages of other origins (CORS).
#pragma once
#include <string>
#include <vector>

#include "serve/http.h"

namespace tokamak::serve {

class Access {
 public:
  Access(std::vector<std::string> keys, std::vector<std::string> origins)
      : keys_(std::move(keys)), origins_(std::move(origins)) {}

  struct Verdict {
    Headers headers;         // for the answer
    bool preflight = false;  // a browser's question, answered by the headers
    std::string error;       // empty: go on
  };
  // open: needs no key.
  Verdict check(const HttpRequest& request, bool open) const;

 private:
  bool knows_key(const HttpRequest& request) const;
  std::vector<std::string> keys_, origins_;
};

// Takes as long for every `given` of one length.
bool equal_in_constant_time(std::string_view given, std::string_view secret);

}  // namespace tokamak::serve

// Which path does what.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/call.h"
#include "serve/engine_room.h"
#include "serve/token_text.h"

namespace tokamak::serve {

class Routes {
 public:
  Routes(EngineRoom& room, const TokenText& tokens);
  // Answers, now or later. ApiError: unknown paths and methods, and what handlers throw.
  void handle(const std::shared_ptr<Call>& call);
  // Needs no API key.
  bool is_open(const HttpRequest& request) const;

 private:
  using Handler = std::function<void(const std::shared_ptr<Call>&)>;
  struct Route {
    std::string method, path;
    Handler handler;
    bool open = false;
  };
  void add(const char* method, const std::string& path, Handler handler, bool open = false);
  std::string pattern_of(const std::string& path) const;
  const Route* find(const HttpRequest& request) const;

  EngineRoom& room_;
  const TokenText& tokens_;
  std::vector<Route> routes_;
};

}  // namespace tokamak::serve

// An HTTP/1.1 server without threads per connection. Handlers get whole requests and answer them at
// once or piece by piece, from any thread. Boost.Beast stays behind this header.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tokamak::serve {

struct HttpRequest {
  std::string method, path, query;  // path: without the query, %-codes read
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string remote;  // address
  // The first value of a header, whatever its case; empty when there is none.
  std::string_view header(std::string_view name) const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// The answer to one request. Every function may be called from any thread; calls take effect in
// their order. After the client has gone they do nothing.
class Reply {
 public:
  virtual ~Reply() = default;
  // Runs on the connection's own thread of control, one after the other with its other work.
  virtual void post(std::function<void()> work) = 0;
  // Called once (as by post) when the client goes before the answer is complete.
  virtual void on_gone(std::function<void()> f) = 0;
  virtual void send(int status, std::string_view content_type, std::string body,
                    Headers headers = {}) = 0;
  virtual void begin(int status, std::string_view content_type, Headers headers = {}) = 0;
  virtual void write(std::string piece) = 0;  // after begin(); never empty
  virtual void end() = 0;
};

// Errors that are found before there is a whole request (400, 413, 431).
using ErrorBody = std::function<std::string(int status, const std::string& message)>;

struct HttpLimits {
  size_t header_bytes = 16 << 10;
  size_t body_bytes = 32 << 20;
  size_t unsent_bytes = 8 << 20;  // of a client that does not read: more and it is cut off
  double request_s = 30;          // for headers and body to arrive
  double idle_s = 75;             // between requests
  double send_s = 60;             // for one piece to leave
  size_t connections = 4096;
};

// PEM files; none: in the clear.
struct TlsFiles {
  std::string certificate, key;  // certificate: with the chain behind it
};

using HttpHandler = std::function<void(HttpRequest request, std::shared_ptr<Reply> reply)>;

class HttpServer {
 public:
  // Binds at once; Error when that fails. Port 0: any that is free.
  HttpServer(const std::string& host, uint16_t port, int threads, HttpLimits limits,
             HttpHandler handler, ErrorBody error_body, const TlsFiles& tls = {});
  ~HttpServer();  // closes every connection; no Reply may be used after it
  void stop();    // the same, but replies may be used still, in vain
  uint16_t port() const;
  // No new connections; open ones end after the answer that runs.
  void stop_accepting();
  size_t connections() const;

 private:
  friend class Connection;
  friend class ConnectionReply;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tokamak::serve

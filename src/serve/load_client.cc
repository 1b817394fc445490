#include "serve/load_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "serve/engine_room.h"

namespace tokamak::serve {
namespace {

class Socket {
 public:
  Socket(const Target& t, double timeout_s) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (const int rc = ::getaddrinfo(t.host.c_str(), t.port.c_str(), &hints, &found))
      fail("{}: {}", t.host, ::gai_strerror(rc));
    for (const addrinfo* a = found; a; a = a->ai_next) {
      fd_ = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
      if (fd_ >= 0 && ::connect(fd_, a->ai_addr, a->ai_addrlen) == 0) break;
      if (fd_ >= 0) ::close(fd_);
      fd_ = -1;
    }
    const int reason = errno;
    ::freeaddrinfo(found);
    if (fd_ < 0) fail("cannot connect to {}:{}: {}", t.host, t.port, std::strerror(reason));
    const int one = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const timeval limit{static_cast<time_t>(timeout_s), 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;

  void send(const std::string& bytes) const {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::send(fd_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("cannot send: {}", std::strerror(errno));
      at += static_cast<size_t>(n);
    }
  }
  // False: the end.
  bool receive(std::string& into) const {
    char bytes[16384];
    ssize_t n;
    do n = ::recv(fd_, bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) fail("cannot receive: {}", std::strerror(errno));
    into.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }

 private:
  int fd_ = -1;
};

std::string lower(std::string s) {
  std::ranges::transform(s, s.begin(), [](unsigned char c) { return std::tolower(c); });
  return s;
}

// Takes the chunks' frames off; what is not complete stays in `raw`.
void take_chunks(std::string& raw, std::string& body) {
  while (true) {
    const size_t line = raw.find("\r\n");
    if (line == std::string::npos) return;
    size_t size = 0;
    const auto [end, error] = std::from_chars(raw.data(), raw.data() + line, size, 16);
    if (error != std::errc() || size > (size_t{1} << 30)) fail("the answer's chunks are damaged");
    if (raw.size() < line + 2 + size + 2) return;
    body.append(raw, line + 2, size);
    raw.erase(0, line + 2 + size + 2);
  }
}

void take_events(std::string& body, double now, std::vector<TimedEvent>& events) {
  size_t at = 0;
  for (size_t end; (end = body.find('\n', at)) != std::string::npos; at = end + 1) {
    std::string line = body.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.starts_with("data: ")) events.push_back({now, line.substr(6)});
  }
  body.erase(0, at);
}

}  // namespace

Target parse_url(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  Target t;
  if (!url.starts_with(kScheme)) fail("'{}': expected http://HOST[:PORT]", url);
  const std::string rest = url.substr(kScheme.size());
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string place = rest.substr(0, slash);
  const size_t colon = place.rfind(':');
  t.host = place.substr(0, colon);
  t.port = colon == std::string::npos ? "80" : place.substr(colon + 1);
  t.path = rest.substr(slash);
  while (t.path.ends_with('/')) t.path.pop_back();
  if (t.path.ends_with("/v1")) t.path.resize(t.path.size() - 3);
  if (t.host.empty() || t.port.empty()) fail("'{}': expected http://HOST[:PORT]", url);
  return t;
}

TimedAnswer ask(const Target& t, const std::string& method, const std::string& endpoint,
                const std::string& body, const std::string& api_key, double timeout_s,
                const std::vector<std::string>& headers) {
  TimedAnswer a;
  const double start = now_s();
  try {
    const Socket socket(t, timeout_s);
    std::string request =
        fmt::format("{} {}{} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nAccept: */*\r\n",
                    method, t.path, endpoint, t.host, t.port);
    if (!api_key.empty()) request += fmt::format("Authorization: Bearer {}\r\n", api_key);
    for (const std::string& h : headers) request += h + "\r\n";
    if (!body.empty())
      request +=
          fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", body.size());
    socket.send(request + "\r\n" + body);
    std::string raw, plain;
    std::string& head = a.head;
    bool chunked = false, events = false;
    while (socket.receive(raw)) {
      const double now = now_s() - start;
      if (head.empty()) {
        const size_t end = raw.find("\r\n\r\n");
        if (end == std::string::npos) continue;
        head = lower(raw.substr(0, end));
        raw.erase(0, end + 4);
        if (head.size() > 12) std::from_chars(head.data() + 9, head.data() + 12, a.status);
        chunked = head.find("transfer-encoding: chunked") != std::string::npos;
        events = head.find("content-type: text/event-stream") != std::string::npos;
      }
      if (chunked)
        take_chunks(raw, plain);
      else
        plain += std::exchange(raw, {});
      if (events) take_events(plain, now, a.events);
    }
    if (a.status == 0) fail("the connection ended without an answer");
    a.body = std::move(plain);
  } catch (const Error& e) {
    a.error = e.what();
  }
  a.total_s = now_s() - start;
  return a;
}

}  // namespace tokamak::serve

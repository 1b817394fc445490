#include "serve/http.h"

#include <sys/socket.h>

#include <atomic>
#include <cctype>
#include <charconv>
#include <chrono>
#include <deque>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>

#include "base/error.h"
#include "base/log.h"
#include "serve/wire.h"

namespace tokamak::serve {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;

std::chrono::nanoseconds seconds(double s) {
  return std::chrono::nanoseconds(static_cast<int64_t>(s * 1e9));
}

std::string_view view(beast::string_view s) { return {s.data(), s.size()}; }

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

// %-codes in a path; what is none stays as it is.
std::string decoded(std::string_view path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    unsigned code = 0;
    const char* at = path.data() + i + 1;
    const bool is_code = path[i] == '%' && i + 2 < path.size() &&
                         std::from_chars(at, at + 2, code, 16).ptr == at + 2;
    out += is_code ? static_cast<char>(code) : path[i];
    if (is_code) i += 2;
  }
  return out;
}

asio::ssl::context tls_context(const TlsFiles& files) {
  asio::ssl::context c(asio::ssl::context::tls_server);
  c.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1 |
                asio::ssl::context::no_compression);
  error_code ec;
  c.use_certificate_chain_file(files.certificate, ec);
  if (ec) fail("--ssl_certfile '{}' is no certificate in PEM: {}", files.certificate, ec.message());
  c.use_private_key_file(files.key, asio::ssl::context::pem, ec);
  if (ec) fail("--ssl_keyfile '{}' is not its private key in PEM: {}", files.key, ec.message());
  return c;
}

std::string chunk_of(const std::string& piece) {
  return fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
}

// A line break in a header would begin another one.
void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  for (const char c : value) out += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
  out += "\r\n";
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (same_name(key, name)) return value;
  return {};
}

class Connection;

struct HttpServer::Impl {
  Impl(HttpLimits limits, HttpHandler handler, ErrorBody error_body)
      : limits(limits), handler(std::move(handler)), error_body(std::move(error_body)) {}
  void accept();

  HttpLimits limits;
  HttpHandler handler;
  ErrorBody error_body;
  std::optional<asio::ssl::context> tls;
  uint16_t port = 0;
  std::atomic<bool> stopping = false;
  std::atomic<bool> ended = false;  // no thread runs `io` any more
  std::atomic<size_t> open = 0;
  asio::io_context io;  // destroys connections: last but for what stands on it
  tcp::acceptor acceptor{io};
  asio::steady_timer retry{io};
  std::vector<std::jthread> threads;
};

// Reads a request, hands it over, writes the answer, and so on. Everything runs on one strand.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpServer::Impl* server, tcp::socket socket)
      : server_(server), stream_(std::move(socket), server->tls ? &*server->tls : nullptr) {
    ++server_->open;
    error_code ec;
    stream_.socket().set_option(tcp::no_delay(true), ec);
    const auto end = stream_.socket().remote_endpoint(ec);
    if (!ec) remote_ = end.address().to_string();
  }
  ~Connection() { --server_->open; }

  void start() {
    asio::post(stream_.get_executor(), [self = shared_from_this()] {
      if (self->stream_.is_tls()) return self->shake_hands();
      self->read_header();
    });
  }

 private:
  friend class ConnectionReply;
  using Parser = http::request_parser<http::string_body>;

  void shake_hands() {
    stream_.tcp().expires_after(seconds(server_->limits.request_s));
    stream_.handshake([self = shared_from_this()](error_code ec) {
      if (ec) return self->close();
      self->read_header();
    });
  }

  void read_header() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(server_->limits.header_bytes));
    parser_->body_limit(server_->limits.body_bytes);
    stream_.tcp().expires_after(
        seconds(buffer_.size() > 0 || first_ ? server_->limits.request_s : server_->limits.idle_s));
    http::async_read_header(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](error_code ec, size_t) { self->on_header(ec); });
  }

  void on_header(error_code ec) {
    if (ec) return refuse(ec);
    first_ = false;
    stream_.tcp().expires_after(seconds(server_->limits.request_s));
    if (!parser_->is_done() && beast::iequals(parser_->get()[http::field::expect], "100-continue"))
      return send_continue();
    read_body();
  }

  void send_continue() {
    asio::async_write(stream_, asio::buffer("HTTP/1.1 100 Continue\r\n\r\n", 25),
                      [self = shared_from_this()](error_code ec, size_t) {
                        if (!ec) self->read_body();
                      });
  }

  void read_body() {
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](error_code ec, size_t) {
                       if (ec) return self->refuse(ec);
                       self->dispatch();
                     });
  }

  // What came is no request: it gets an answer where there is something to answer, and the end.
  void refuse(error_code ec) {
    if (ec == http::error::end_of_stream || ec == asio::error::operation_aborted ||
        ec == beast::error::timeout)  // Beast has closed the socket by then
      return shut();
    int status = 400;
    if (ec == http::error::body_limit) {
      status = 413;
    } else if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
      status = 431;
    } else if (ec.category() != http::make_error_code(http::error::bad_method).category()) {
      return shut();  // the network's
    }
    begin_answer(/*keep_alive=*/false, /*head=*/false);
    refused_ = true;
    const std::string message =
        status == 413 ? fmt::format("the body is larger than {} bytes", server_->limits.body_bytes)
        : status == 431
            ? fmt::format("the headers are larger than {} bytes", server_->limits.header_bytes)
            : "not an HTTP request: " + ec.message();
    send(answer_, status, "application/json", server_->error_body(status, message), {});
  }

  void begin_answer(bool keep_alive, bool head) {
    ++answer_;
    answering_ = true;
    keep_alive_ = keep_alive;
    head_ = head;
    begun_ = chunked_ = false;
    gone_ = {};
  }

  void dispatch();
  void watch();
  void watch_tls();

  static HttpRequest to_request(Parser& parser, const std::string& remote) {
    auto message = parser.release();
    HttpRequest r;
    r.remote = remote;
    r.method = view(message.method_string());
    const std::string_view target = view(message.target());
    const size_t mark = target.find('?');
    r.path = decoded(target.substr(0, mark));
    if (mark != std::string_view::npos) r.query = target.substr(mark + 1);
    for (const auto& field : message)
      r.headers.emplace_back(view(field.name_string()), view(field.value()));
    r.body = std::move(message.body());
    return r;
  }

  std::string head_of(int status, std::string_view type, const Headers& headers) const {
    std::string out = fmt::format("HTTP/1.1 {} {}\r\n", status,
                                  view(http::obsolete_reason(static_cast<http::status>(status))));
    append_header(out, "Server", "tokamak");
    if (!type.empty()) append_header(out, "Content-Type", type);
    for (const auto& [name, value] : headers) append_header(out, name, value);
    if (!keep_alive_) append_header(out, "Connection", "close");
    return out;
  }

  void send(uint64_t answer, int status, std::string_view type, std::string body,
            const Headers& headers) {
    if (answer != answer_ || !answering_ || begun_) return;
    if (server_->stopping) keep_alive_ = false;
    begun_ = true;
    std::string out = head_of(status, type, headers);
    if (status != 204) append_header(out, "Content-Length", std::to_string(body.size()));
    out += "\r\n";
    if (!head_) out += body;
    push(std::move(out));
    finish();
  }

  void begin(uint64_t answer, int status, std::string_view type, const Headers& headers) {
    if (answer != answer_ || !answering_ || begun_) return;
    if (server_->stopping) keep_alive_ = false;
    begun_ = true;
    chunked_ = http_1_1_;  // to older clients the end of the connection is the end
    if (!chunked_) keep_alive_ = false;
    std::string out = head_of(status, type, headers);
    if (chunked_) append_header(out, "Transfer-Encoding", "chunked");
    push(out + "\r\n");
  }

  void write(uint64_t answer, std::string piece) {
    if (answer != answer_ || !answering_ || !begun_ || head_) return;
    push(chunked_ ? chunk_of(piece) : std::move(piece));
  }

  void end(uint64_t answer) {
    if (answer != answer_ || !answering_ || !begun_) return;
    if (chunked_ && !head_) push("0\r\n\r\n");
    finish();
  }

  void finish() {
    answering_ = false;
    gone_ = {};
    ++answer_;  // what comes late is not for the next one
    next();
  }

  // The next request, once the answer has left.
  void next() {
    if (answering_ || writing_ || closed_) return;
    error_code ignored;
    stream_.socket().cancel(ignored);  // the watch
    if (watching_) return;             // its end calls again
    if (!keep_alive_ || server_->stopping) return shut();
    read_header();
  }

  void push(std::string bytes) {
    if (closed_) return;
    unsent_.append(bytes);
    if (unsent_.size() > server_->limits.unsent_bytes) return lose();
    if (!writing_) flush();
  }

  void flush() {
    writing_ = true;
    sending_ = std::exchange(unsent_, {});
    stream_.tcp().expires_after(seconds(server_->limits.send_s));
    asio::async_write(stream_, asio::buffer(sending_),
                      [self = shared_from_this()](error_code ec, size_t) {
                        self->writing_ = false;
                        if (ec) return self->lose();
                        if (!self->unsent_.empty()) return self->flush();
                        self->next();
                      });
  }

  // The client has gone, or does not read.
  void lose() {
    if (answering_ && gone_) {
      answering_ = false;
      ++answer_;
      std::exchange(gone_, {})();
    }
    close();
  }

  void shut() {
    if (stream_.is_tls() && !refused_) return shut_tls();
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    if (!refused_) return close();
    closed_ = true;
    stream_.tcp().expires_after(seconds(2));
    drain();
  }

  void shut_tls() {
    closed_ = true;
    stream_.tcp().expires_after(seconds(2));
    stream_.shutdown([self = shared_from_this()](error_code) { self->close(); });
  }

  // What a refused request still sends is read away: closing before would reset the connection, and
  // the client might never see the answer.
  void drain() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(64 << 10),
                            [self = shared_from_this()](error_code ec, size_t) {
                              if (ec) return self->close();
                              self->drain();
                            });
  }

  void close() {
    closed_ = true;
    stream_.tcp().close();
  }

  HttpServer::Impl* server_;
  Wire stream_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::string remote_;
  std::string unsent_, sending_;
  std::function<void()> gone_;
  uint64_t answer_ = 0;  // number of the answer that runs: calls for others are ignored
  bool first_ = true, refused_ = false, answering_ = false, begun_ = false, chunked_ = false;
  bool keep_alive_ = false, head_ = false, http_1_1_ = true, writing_ = false, closed_ = false;
  bool watching_ = false;  // a read that waits for the client to go
};

class ConnectionReply : public Reply {
 public:
  ConnectionReply(std::shared_ptr<Connection> c, uint64_t answer)
      : c_(std::move(c)), answer_(answer) {}
  // A handler that forgot its reply must not leave the client waiting.
  ~ConnectionReply() override {
    if (c_->server_->ended) return;
    asio::post(c_->stream_.get_executor(), [c = c_, a = answer_] {
      if (a == c->answer_ && c->answering_) c->close();
    });
  }

  void post(std::function<void()> work) override {
    asio::post(c_->stream_.get_executor(), std::move(work));
  }
  void on_gone(std::function<void()> f) override {
    run([f = std::move(f)](Connection& c, uint64_t a) mutable {
      if (a == c.answer_ && c.answering_)
        c.gone_ = std::move(f);
      else
        f();
    });
  }
  void send(int status, std::string_view type, std::string body, Headers headers) override {
    run([status, type = std::string(type), body = std::move(body), headers = std::move(headers)](
            Connection& c, uint64_t a) mutable {
      c.send(a, status, type, std::move(body), headers);
    });
  }
  void begin(int status, std::string_view type, Headers headers) override {
    run([status, type = std::string(type), headers = std::move(headers)](
            Connection& c, uint64_t a) { c.begin(a, status, type, headers); });
  }
  void write(std::string piece) override {
    run([piece = std::move(piece)](Connection& c, uint64_t a) mutable {
      c.write(a, std::move(piece));
    });
  }
  void end() override {
    run([](Connection& c, uint64_t a) { c.end(a); });
  }

 private:
  // At once where the caller is on the connection's strand.
  template <typename F>
  void run(F f) {
    asio::dispatch(c_->stream_.get_executor(),
                   [c = c_, a = answer_, f = std::move(f)]() mutable { f(*c, a); });
  }
  std::shared_ptr<Connection> c_;
  const uint64_t answer_;
};

void Connection::dispatch() {
  http_1_1_ = parser_->get().version() >= 11;
  begin_answer(parser_->get().keep_alive(), parser_->get().method() == http::verb::head);
  HttpRequest request = to_request(*parser_, remote_);
  stream_.tcp().expires_never();
  watch();
  auto reply = std::make_shared<ConnectionReply>(shared_from_this(), answer_);
  server_->handler(std::move(request), std::move(reply));
}

// Sees that the client goes while its answer is in the making.
void Connection::watch() {
  if (stream_.is_tls()) return watch_tls();
  stream_.socket().async_wait(
      tcp::socket::wait_read, [self = shared_from_this(), a = answer_](error_code ec) {
        if (ec || a != self->answer_ || !self->answering_) return;
        char byte;
        const auto n =
            ::recv(self->stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) self->lose();
        // More bytes: the next request waits there, and hides the end of the connection.
      });
}

// The same through TLS, whose end is a message like others: what comes early is kept for the next
// request.
void Connection::watch_tls() {
  if (buffer_.size() > 0) return;
  watching_ = true;
  stream_.async_read_some(buffer_.prepare(4096),
                          [self = shared_from_this(), a = answer_](error_code ec, size_t n) {
                            self->watching_ = false;
                            self->buffer_.commit(n);
                            const bool answered = a != self->answer_ || !self->answering_;
                            if (ec && ec != asio::error::operation_aborted && !answered)
                              return self->lose();
                            if (ec && ec != asio::error::operation_aborted) return self->close();
                            if (answered) self->next();
                          });
}

void HttpServer::Impl::accept() {
  acceptor.async_accept(asio::make_strand(io), [self = this](error_code ec, tcp::socket socket) {
    if (self->stopping || ec == asio::error::operation_aborted) return;
    if (ec || self->open >= self->limits.connections) {  // no descriptors left, or too many
      if (!ec) socket.close(ec);
      self->retry.expires_after(std::chrono::milliseconds(50));
      self->retry.async_wait([self](error_code e) {
        if (!e) self->accept();
      });
      return;
    }
    std::make_shared<Connection>(self, std::move(socket))->start();
    self->accept();
  });
}

HttpServer::HttpServer(const std::string& host, uint16_t port, int threads, HttpLimits limits,
                       HttpHandler handler, ErrorBody error_body, const TlsFiles& tls)
    : impl_(std::make_unique<Impl>(limits, std::move(handler), std::move(error_body))) {
  if (!tls.certificate.empty()) impl_->tls.emplace(tls_context(tls));
  error_code ec;
  tcp::resolver resolver(impl_->io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, ec);
  if (ec || found.empty()) fail("--host '{}' is not an address: {}", host, ec.message());
  const tcp::endpoint endpoint = found.begin()->endpoint();
  tcp::acceptor& a = impl_->acceptor;
  a.open(endpoint.protocol(), ec);
  if (!ec) a.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) a.bind(endpoint, ec);
  if (!ec) a.listen(1024, ec);
  if (ec) fail("cannot listen on {} port {}: {}", host, port, ec.message());
  impl_->port = a.local_endpoint().port();
  impl_->accept();
  for (int i = 0; i < threads; ++i)
    impl_->threads.emplace_back([impl = impl_.get()] {
      while (true) try {
          impl->io.run();
          return;
        } catch (const std::exception& e) {
          log::error("a connection failed: {}", e.what());
        }
    });
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::stop() {
  impl_->stopping = true;
  impl_->io.stop();
  impl_->threads.clear();
  impl_->ended = true;
}

uint16_t HttpServer::port() const { return impl_->port; }
size_t HttpServer::connections() const { return impl_->open; }

void HttpServer::stop_accepting() {
  impl_->stopping = true;
  asio::post(impl_->io, [impl = impl_.get()] {
    error_code ignored;
    impl->acceptor.close(ignored);
  });
}

}  // namespace tokamak::serve

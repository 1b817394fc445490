// A connection's bytes, in the clear or through TLS: what Asio calls an AsyncStream.
#pragma once
#include <optional>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/tcp_stream.hpp>

namespace tokamak::serve {

class Wire {
 public:
  using executor_type = boost::beast::tcp_stream::executor_type;

  // tls: none, or what outlives the connection.
  Wire(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context* tls)
      : tcp_(std::move(socket)) {
    if (tls) tls_.emplace(tcp_, *tls);
  }
  bool is_tls() const { return tls_.has_value(); }
  boost::beast::tcp_stream& tcp() { return tcp_; }
  boost::asio::ip::tcp::socket& socket() { return tcp_.socket(); }
  executor_type get_executor() { return tcp_.get_executor(); }

  template <typename F>
  void handshake(F f) {
    tls_->async_handshake(boost::asio::ssl::stream_base::server, std::move(f));
  }
  // Tells the other side that nothing follows.
  template <typename F>
  void shutdown(F f) {
    tls_->async_shutdown(std::move(f));
  }
  template <typename Buffers, typename F>
  void async_read_some(const Buffers& buffers, F&& f) {
    if (tls_)
      tls_->async_read_some(buffers, std::forward<F>(f));
    else
      tcp_.async_read_some(buffers, std::forward<F>(f));
  }
  template <typename Buffers, typename F>
  void async_write_some(const Buffers& buffers, F&& f) {
    if (tls_)
      tls_->async_write_some(buffers, std::forward<F>(f));
    else
      tcp_.async_write_some(buffers, std::forward<F>(f));
  }

 private:
  boost::beast::tcp_stream tcp_;
  std::optional<boost::asio::ssl::stream<boost::beast::tcp_stream&>> tls_;
};

}  // namespace tokamak::serve

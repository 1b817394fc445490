// The server behind TLS, as a client of OpenSSL's sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <thread>

#include "serve/tiny_server.h"

namespace tokamak::serve {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;
using tcp = asio::ip::tcp;

// A key and a certificate that it signs itself, in a folder of their own.
struct Certificate {
  Certificate() {
    EVP_PKEY* key = EVP_RSA_gen(2048);
    X509* x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME* name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_sign(x, key, EVP_sha256());
    write(files.certificate, [&](FILE* f) { PEM_write_X509(f, x); });
    write(files.key,
          [&](FILE* f) { PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr); });
    X509_free(x);
    EVP_PKEY_free(key);
  }
  static void write(const std::string& path, const std::function<void(FILE*)>& content) {
    FILE* f = std::fopen(path.c_str(), "w");
    content(f);
    std::fclose(f);
  }
  testing::TempDir folder;
  TlsFiles files{folder.path() / "cert.pem", folder.path() / "key.pem"};
};

class TlsClient {
 public:
  TlsClient(uint16_t port, const std::string& trusted) : stream_(io_, context_) {
    context_.load_verify_file(trusted);
    stream_.set_verify_mode(asio::ssl::verify_peer);
    stream_.next_layer().connect({asio::ip::address_v4::loopback(), port});
    stream_.handshake(asio::ssl::stream_base::client);
  }
  void send(const std::string& text) { asio::write(stream_, asio::buffer(text)); }
  std::string read_until(const std::string& what) {
    boost::system::error_code ec;
    asio::read_until(stream_, asio::dynamic_buffer(bytes_), what, ec);
    const size_t end = std::min(bytes_.find(what), bytes_.size() - what.size()) + what.size();
    const std::string taken = bytes_.substr(0, end);
    bytes_.erase(0, end);
    return taken;
  }
  // What follows until the server says that nothing does.
  boost::system::error_code read_rest() {
    boost::system::error_code ec;
    asio::read(stream_, asio::dynamic_buffer(bytes_), ec);
    return ec;
  }
  void go() { stream_.next_layer().close(); }
  void say_goodbye() {
    boost::system::error_code ignored;
    stream_.shutdown(ignored);
    go();
  }

 private:
  asio::io_context io_;
  asio::ssl::context context_{asio::ssl::context::tls_client};
  asio::ssl::stream<tcp::socket> stream_;
  std::string bytes_;
};

std::string post(const Json& body, const char* more = "") {
  const std::string text = body.dump();
  return fmt::format("POST /v1/completions HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{}",
                     more, text.size(), text);
}

TEST(Tls, AnswersStreamsAndSeesClientsGo) {
  const TinyModel model(true);
  const Certificate certificate;
  ServeOptions o;
  o.tls = certificate.files;
  const TinyServer tiny(model, o);
  const uint16_t port = tiny.server->port();
  const Json small = {{"prompt", "x"}, {"max_tokens", 3}, {"temperature", 0}};
  Json streamed = small, endless = small;
  streamed["stream"] = true;
  streamed["max_tokens"] = 30;
  endless["stream"] = true;
  endless["max_tokens"] = 1900;
  endless["ignore_eos"] = true;

  TlsClient client(port, certificate.files.certificate);
  for (int i = 0; i < 3; ++i) {  // several requests on one connection
    client.send(post(small));
    EXPECT_THAT(client.read_until("\"total_tokens\""), HasSubstr("200 OK"));
    client.read_until("}");
    client.read_until("}");
    client.send(post(streamed));
    EXPECT_THAT(client.read_until("[DONE]\n\n\r\n0\r\n\r\n"), HasSubstr("data: "));
  }
  client.send(post(streamed) + post(small, "Connection: close\r\n"));  // the second comes early
  client.read_until("[DONE]\n\n\r\n0\r\n\r\n");
  EXPECT_THAT(client.read_until("\"total_tokens\""), HasSubstr("200 OK"));
  EXPECT_EQ(client.read_rest(), asio::error::eof) << "the end is said, not cut off";

  for (const bool polite : {true, false}) {
    TlsClient leaver(port, certificate.files.certificate);
    leaver.send(post(endless));
    leaver.read_until("data: ");
    if (polite)
      leaver.say_goodbye();
    else
      leaver.go();
    for (int i = 0; i < 2000 && tiny.server->in_flight() > 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(tiny.server->in_flight(), 0) << polite;
  }
  EXPECT_EQ(tiny.server->stats().kv_blocks_used, 0);
}

TEST(Tls, RefusesWhatIsNoneAndFilesThatAreNoKeys) {
  const TinyModel model(true);
  const Certificate certificate;
  ServeOptions o;
  o.tls = certificate.files;
  {
    const TinyServer tiny(model, o);
    const TimedAnswer plain = tiny.get("/health");
    EXPECT_EQ(plain.status, 0) << "no answer in the clear";
    TlsClient client(tiny.server->port(), certificate.files.certificate);
    client.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.read_until("}"), HasSubstr("\"ok\""));
  }
  o.tls.key = certificate.files.certificate;
  EXPECT_THROW(TinyServer(model, o), Error);
  o.tls = {"/nowhere.pem", certificate.files.key};
  EXPECT_THROW(TinyServer(model, o), Error);
}

}  // namespace
}  // namespace tokamak::serve

// Clients that go, crowd, forge, babble or are slow; and the end of the server.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "serve/access.h"
#include "serve/tiny_server.h"

namespace tokamak::serve {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// A connection to write anything to.
class Raw {
 public:
  explicit Raw(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    const timeval limit{20, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~Raw() { ::close(fd_); }
  void send(const std::string& s) const { (void)!::send(fd_, s.data(), s.size(), MSG_NOSIGNAL); }
  // Until `what` has come, or the end.
  std::string read_until(const std::string& what) const {
    std::string all;
    char bytes[4096];
    while (all.find(what) == std::string::npos) {
      const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
      if (n <= 0) break;
      all.append(bytes, static_cast<size_t>(n));
    }
    return all;
  }

 private:
  int fd_;
};

std::string request(const std::string& path, const Json& body) {
  const std::string text = body.dump();
  return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", path,
                     text.size(), text);
}

bool soon(const std::function<bool()>& f) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!f()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

const Json kLong = {
    {"prompt", "on and on"}, {"max_tokens", 1900}, {"ignore_eos", true}, {"stream", true}};

class TroubleTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { model_ = new TinyModel(true); }
  static void TearDownTestSuite() { delete model_; }
  static TinyModel* model_;
};
TinyModel* TroubleTest::model_ = nullptr;

TEST_F(TroubleTest, AClientThatGoesFreesItsBlocks) {
  const TinyServer tiny(*model_);
  for (const bool streams : {true, false}) {
    {
      const Raw client(tiny.server->port());
      Json body = kLong;
      body["stream"] = streams;
      body["n"] = 3;
      client.send(request("/v1/completions", body));
      if (streams) client.read_until("data: ");
      ASSERT_TRUE(soon([&] { return tiny.server->stats().kv_blocks_used > 0; }));
    }
    EXPECT_TRUE(soon(
        [&] { return tiny.server->stats().kv_blocks_used == 0 && tiny.server->in_flight() == 0; }));
  }
  EXPECT_GE(tiny.server->stats().cancelled, 2);
  EXPECT_EQ(tiny.get("/health").status, 200);
}

TEST_F(TroubleTest, AFullQueueSaysSo) {
  ServeOptions o;
  o.executor.max_batch_size = 1;
  o.executor.max_queue_size = 1;
  const TinyServer tiny(*model_, o);
  const Raw first(tiny.server->port()), second(tiny.server->port());
  first.send(request("/v1/completions", kLong));
  second.send(request("/v1/completions", kLong));
  ASSERT_TRUE(soon([&] { return tiny.server->in_flight() == 2; }));
  const TimedAnswer third = tiny.post("/v1/completions", kLong);
  EXPECT_EQ(third.status, 429) << third.body;
  EXPECT_THAT(third.head, HasSubstr("retry-after: "));
  EXPECT_EQ(Json::parse(third.body)["error"]["type"], "rate_limit_error");
}

TEST_F(TroubleTest, KeysAndOrigins) {
  ServeOptions o;
  o.api_keys = {"alpha", "beta"};
  o.allowed_origins = {"https://page.example"};
  const TinyServer tiny(*model_, o);
  EXPECT_EQ(tiny.get("/v1/models").status, 401);
  EXPECT_EQ(tiny.get("/v1/models", "alph").status, 401);
  EXPECT_EQ(tiny.get("/v1/models", "alphaalpha").status, 401);
  EXPECT_EQ(tiny.get("/v1/models", "beta").status, 200);
  EXPECT_EQ(tiny.get("/health").status, 200);
  EXPECT_EQ(tiny.post("/v1/completions", kLong.dump(), "gamma").status, 401);
  const Raw browser(tiny.server->port());
  browser.send(
      "OPTIONS /v1/completions HTTP/1.1\r\nHost: x\r\nOrigin: https://page.example\r\n"
      "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: "
      "authorization\r\n\r\n");
  const std::string allowed = browser.read_until("\r\n\r\n");
  EXPECT_THAT(allowed, HasSubstr("204"));
  EXPECT_THAT(allowed, HasSubstr("Access-Control-Allow-Origin: https://page.example"));
  const Raw other(tiny.server->port());
  other.send("GET /health HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\n\r\n");
  EXPECT_THAT(other.read_until("\r\n\r\n"), ::testing::Not(HasSubstr("Access-Control")));
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_FALSE(equal_in_constant_time("a", ""));
}

TEST_F(TroubleTest, LimitsOfSizeAndTime) {
  ServeOptions o;
  o.limits.body_bytes = 1000;
  o.limits.header_bytes = 500;
  o.limits.request_s = 0.3;
  const TinyServer tiny(*model_, o);
  EXPECT_EQ(tiny.post("/v1/completions", std::string(5000, ' ')).status, 413);
  const Raw long_head(tiny.server->port());
  long_head.send("GET /health HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n");
  EXPECT_THAT(long_head.read_until("\r\n\r\n"), HasSubstr("431"));
  const Raw slow(tiny.server->port());
  slow.send("GET /health HT");
  EXPECT_EQ(slow.read_until("\r\n\r\n"), "") << "too slow: closed";
  const Raw same(tiny.server->port());  // one connection, several requests; one comes early
  same.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(same.read_until("version\""), HasSubstr("\"ok\""));
}

TEST_F(TroubleTest, RequestIdsAreKept) {
  const TinyServer tiny(*model_);
  const Raw client(tiny.server->port());
  client.send("GET /health HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-42\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("X-Request-Id: mine-42\r\n"));
}

// Bodies that are nearly right: every one gets an answer that is one, and the server stays.
TEST_F(TroubleTest, DamagedBodiesAreAnswered) {
  constexpr uint64_t kSeed = 7;
  std::mt19937_64 random(kSeed);
  const TinyServer tiny(*model_);
  const std::vector<std::pair<std::string, std::string>> seeds = {
      {"/v1/completions",
       R"({"prompt":[1,2,3],"max_tokens":2,"temperature":0.5,"stop":["a"],"logit_bias":{"5":1},"n":1})"},
      {"/v1/chat/completions",
       R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":2,"logprobs":true,"top_logprobs":1})"},
      {"/tokenize", R"({"prompt":"hello","add_special_tokens":true})"},
      {"/detokenize", R"({"tokens":[1,2,3]})"}};
  const std::vector<std::string> pieces = {"null",
                                           "-1",
                                           "1e999",
                                           "{}",
                                           "[]",
                                           "\"\"",
                                           "\\ud800",
                                           "\xff",
                                           "[[",
                                           "}",
                                           "99999999999999999999",
                                           "true"};
  for (int i = 0; i < 400; ++i) {
    auto [path, body] = seeds[random() % seeds.size()];
    for (int k = static_cast<int>(random() % 3); k >= 0; --k) {
      const size_t at = random() % (body.size() + 1);
      switch (random() % 3) {
        case 0:
          body.insert(at, pieces[random() % pieces.size()]);
          break;
        case 1:
          body.erase(at, 1 + random() % 6);
          break;
        default:
          if (at < body.size()) body[at] = static_cast<char>(random());
      }
    }
    const TimedAnswer a = tiny.post(path, body);
    EXPECT_THAT(a.status, AnyOf(200, 400, 404)) << "seed " << kSeed << " body " << body << a.error;
    EXPECT_FALSE(Json::parse(a.body, nullptr, false).is_discarded()) << a.body;
  }
  for (int i = 0; i < 60; ++i) {  // and what is no HTTP
    std::string bytes = request("/v1/completions", {{"prompt", {1}}, {"max_tokens", 1}});
    for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    const Raw client(tiny.server->port());
    client.send(bytes);
  }
  EXPECT_EQ(tiny.get("/health").status, 200);
  EXPECT_TRUE(soon([&] { return tiny.server->in_flight() == 0; }));
  EXPECT_EQ(tiny.server->stats().kv_blocks_used, 0);
}

TEST_F(TroubleTest, DrainingFinishesWhatRuns) {
  const TinyServer tiny(*model_);
  const Raw client(tiny.server->port());
  Json body = kLong;
  body["max_tokens"] = 200;
  client.send(request("/v1/completions", body));
  client.read_until("data: ");
  EXPECT_TRUE(tiny.server->drain(60));
  EXPECT_THAT(client.read_until("[DONE]"), HasSubstr("[DONE]"));
  EXPECT_FALSE(tiny.get("/health").error.empty()) << "nobody listens";
}

TEST_F(TroubleTest, EndingCutsOffWhatRuns) {
  auto tiny = std::make_unique<TinyServer>(*model_);
  const Raw client(tiny->server->port());
  client.send(request("/v1/completions", kLong));
  client.read_until("data: ");
  tiny.reset();
  EXPECT_THAT(client.read_until("[DONE]"), ::testing::Not(HasSubstr("[DONE]")));
}

}  // namespace
}  // namespace tokamak::serve

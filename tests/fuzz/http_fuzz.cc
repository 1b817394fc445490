// Bytes of a client's connection: HTTP, then JSON and KServe's tensors in the bodies that arrive.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "serve/access.h"
#include "serve/call.h"
#include "serve/fields.h"
#include "serve/http.h"
#include "serve/kserve_tensors.h"

namespace {

using namespace tokamak;
using namespace tokamak::serve;

void read_fields(const Json& body) {
  const Fields f(body);
  f.number("temperature", 0, 100);
  f.integer("max_tokens", 0, 1 << 20);
  f.boolean("stream");
  f.strings("stop");
  f.ids("prompt", 1000);
  if (const Json* data = f.find("data"); data && data->is_string())
    tensor_elements("data", f.string("datatype").value_or("BYTES"),
                    element_count("data", {f.integer("count").value_or(1)}),
                    data->get_ref<const std::string&>());
}

void answer(HttpRequest request, std::shared_ptr<Reply> reply) {
  static const Access access({"key"}, {"http://page"});
  const Access::Verdict verdict = access.check(request, request.method == "GET");
  const auto call = std::make_shared<Call>(std::move(request), std::move(reply), verdict.headers,
                                           Call::Settings{nullptr, false, false});
  try {
    if (!verdict.error.empty()) throw ApiError(401, verdict.error);
    const Json body = call->body();
    read_fields(body);
    if (call->request().path != "/events") return call->json(200, body);
    call->begin_events();
    call->event(body);
    call->end_events();
  } catch (const ApiError& e) {
    call->error(e);
  } catch (const Error& e) {
    call->error(ApiError(400, e.what()));
  }
}

HttpServer& server() {
  HttpLimits limits;
  limits.header_bytes = 1 << 12;
  limits.body_bytes = 1 << 15;
  static HttpServer s("127.0.0.1", 0, 1, limits, answer, [](int status, const std::string& what) {
    return to_text(error_object(status, what));
  });
  return s;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(server().port());
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const linger at_once{1, 0};  // no port waits for what is under way
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
    (void)!::send(fd, data, size, MSG_NOSIGNAL);
    ::shutdown(fd, SHUT_WR);
    char bytes[4096];
    while (::recv(fd, bytes, sizeof bytes, 0) > 0) {
    }
  }
  ::close(fd);
  return 0;
}

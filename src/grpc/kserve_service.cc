// KServe v2 over gRPC: the tensors and answers of serve/kserve.cc in its messages. Each call has a
// thread of gRPC's while it runs.
#include <grpcpp/grpcpp.h>

#include <kserve.grpc.pb.h>
#include <cmath>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "grpc/grpc_server.h"
#include "grpc/rpc_thread.h"
#include "serve/access.h"
#include "serve/api_error.h"
#include "serve/call.h"
#include "serve/kserve_outputs.h"
#include "serve/kserve_tensors.h"
#include "tokamak/version.h"

namespace tokamak::serve {
namespace {

using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

Status status_of(const ApiError& e) {
  const StatusCode code = e.status == 404   ? StatusCode::NOT_FOUND
                          : e.status == 429 ? StatusCode::RESOURCE_EXHAUSTED
                          : e.status == 503 ? StatusCode::UNAVAILABLE
                          : e.status >= 500 ? StatusCode::INTERNAL
                                            : StatusCode::INVALID_ARGUMENT;
  return {code, e.what()};
}

// The base model or an adapter.
void check_model(const EngineRoom& room, const std::string& name, const std::string& version) {
  room.loras.find(name);
  if (!version.empty() && version != "1")
    throw ApiError(404, fmt::format("model '{}' has version 1 alone, not '{}'", name, version));
}

Json contents(const inference::ModelInferRequest::InferInputTensor& t) {
  const auto& c = t.contents();
  Json out = Json::array();
  const auto take = [&](const auto& values) {
    for (const auto& v : values) out.push_back(v);
  };
  take(c.bool_contents());
  take(c.int_contents());
  take(c.int64_contents());
  take(c.uint_contents());
  take(c.uint64_contents());
  take(c.fp32_contents());
  take(c.fp64_contents());
  take(c.bytes_contents());
  return out;
}

std::vector<InferTensor> tensors_of(const inference::ModelInferRequest& r) {
  const bool raw = r.raw_input_contents_size() > 0;
  if (raw && r.raw_input_contents_size() != r.inputs_size())
    throw ApiError(400, fmt::format("raw_input_contents has {} items for {} inputs",
                                    r.raw_input_contents_size(), r.inputs_size()));
  std::vector<InferTensor> tensors;
  for (int i = 0; i < r.inputs_size(); ++i) {
    const auto& in = r.inputs(i);
    InferTensor t{in.name(), in.datatype(), {in.shape().begin(), in.shape().end()}, {}};
    t.data = raw ? tensor_elements(t.name, t.datatype, element_count(t.name, t.shape),
                                   r.raw_input_contents(i))
                 : contents(in);
    tensors.push_back(std::move(t));
  }
  return tensors;
}

// A request's log line, written when nobody needs it any more.
class RpcLog {
 public:
  RpcLog(const GrpcOptions& options, const ServerContext& context, const char* method,
         const inference::ModelInferRequest& request)
      : log_(options.log_requests), as_json_(options.log_json), start_s_(now_s()) {
    line_ = {{"event", "request"},
             {"id", request.id()},
             {"method", "gRPC"},
             {"path", method},
             {"status", "CANCELLED"},
             {"remote", context.peer()},
             {"model", request.model_name()}};
  }
  ~RpcLog() {
    if (!log_) return;
    line_["ms"] = std::round(1e4 * (now_s() - start_s_)) / 10;
    log_request(line_, as_json_);
  }
  RpcLog(const RpcLog&) = delete;
  void failed(const ApiError& e) { line_["status"] = fmt::format("error {}", e.status); }
  void ended(const Usage& u) {
    line_["status"] = "OK";
    line_["prompt_tokens"] = u.prompt_tokens;
    line_["completion_tokens"] = u.completion_tokens;
  }

 private:
  const bool log_, as_json_;
  const double start_s_;
  Json line_;
};

// One request while it runs; lives on its call's thread.
class InferCall : public std::enable_shared_from_this<InferCall> {
 public:
  using OnAnswer = std::function<void(inference::ModelInferResponse&&, bool last)>;
  using OnError = std::function<void(const ApiError&)>;

  // ApiError. Pieces are answers of their own where the request of a `stream` asks for it.
  static void run(EngineRoom& room, const inference::ModelInferRequest& request,
                  std::shared_ptr<RpcThread> thread, bool stream, std::shared_ptr<RpcLog> log,
                  OnAnswer answer, OnError error) {
    check_model(room, request.model_name(), request.model_version());
    KServeRequest r = read_infer(room, request.model_name(), tensors_of(request));
    std::vector<std::string> wanted;
    for (const auto& output : request.outputs()) wanted.push_back(output.name());
    const auto self = std::make_shared<InferCall>();
    self->id_ = request.id();
    self->model_ = request.model_name();
    self->outputs_ = KServeOutputs(r, wanted);
    self->stream_ = stream;
    self->pieces_ = stream && r.stream.value_or(false);
    const auto it = request.parameters().find("triton_enable_empty_final_response");
    self->empty_end_ = it != request.parameters().end() && it->second.bool_param();
    self->log_ = std::move(log);
    self->answer_ = std::move(answer);
    self->error_ = std::move(error);
    Generation::run(room, std::move(r.generation), std::make_shared<RpcReply>(std::move(thread)),
                    self);
  }

  void take(Piece&& p) {
    outputs_.take(std::move(p));
    if (!pieces_ || !(outputs_.any() || outputs_.complete())) return;
    say(outputs_.complete() && !empty_end_);
    outputs_.clear();
  }
  void end(const Usage& u, const std::string& error) {
    if (!error.empty()) return error_(ApiError(500, error));
    log_->ended(u);
    if (!pieces_ || empty_end_) say(true);
  }

 private:
  // Triton marks the last answer, which has outputs or, where the client asks for it, none.
  void say(bool last) {
    inference::ModelInferResponse r;
    r.set_model_name(model_);
    r.set_model_version("1");
    r.set_id(id_);
    if (!(last && pieces_ && empty_end_))
      for (const OutputTensor& t : outputs_.tensors()) {
        auto* output = r.add_outputs();
        output->set_name(t.name);
        output->set_datatype(t.datatype);
        for (const int64_t d : t.shape) output->add_shape(d);
        r.add_raw_output_contents(t.bytes);
      }
    if (stream_) (*r.mutable_parameters())["triton_final_response"].set_bool_param(last);
    answer_(std::move(r), last);
  }

  std::string id_, model_;
  KServeOutputs outputs_;
  std::shared_ptr<RpcLog> log_;
  bool stream_ = false, pieces_ = false, empty_end_ = false;
  OnAnswer answer_;
  OnError error_;
};

class KServeService final : public inference::GRPCInferenceService::Service {
 public:
  KServeService(EngineRoom& room, const GrpcOptions& options)
      : room_(room), options_(options), access_(options.api_keys, {}) {}

  Status ServerLive(ServerContext*, const inference::ServerLiveRequest*,
                    inference::ServerLiveResponse* r) override {
    r->set_live(true);
    return Status::OK;
  }
  Status ServerReady(ServerContext*, const inference::ServerReadyRequest*,
                     inference::ServerReadyResponse* r) override {
    r->set_ready(!room_.draining);
    return Status::OK;
  }
  Status ModelReady(ServerContext* c, const inference::ModelReadyRequest* q,
                    inference::ModelReadyResponse* r) override {
    return guarded(c, [&] {
      check_model(room_, q->name(), q->version());
      r->set_ready(!room_.draining);
    });
  }
  Status ServerMetadata(ServerContext* c, const inference::ServerMetadataRequest*,
                        inference::ServerMetadataResponse* r) override {
    return guarded(c, [&] {
      r->set_name("tokamak");
      r->set_version(kVersion);
      r->add_extensions("model_stream_infer");
    });
  }
  Status ModelMetadata(ServerContext* c, const inference::ModelMetadataRequest* q,
                       inference::ModelMetadataResponse* r) override {
    return guarded(c, [&] {
      check_model(room_, q->name(), q->version());
      const Json m = kserve_metadata(q->name());
      r->set_name(q->name());
      r->add_versions("1");
      r->set_platform(m["platform"].get<std::string>());
      const auto add = [](const Json& from, auto* to) {
        to->set_name(from["name"].template get<std::string>());
        to->set_datatype(from["datatype"].template get<std::string>());
        for (const Json& d : from["shape"]) to->add_shape(d.template get<int64_t>());
      };
      for (const Json& t : m["inputs"]) add(t, r->add_inputs());
      for (const Json& t : m["outputs"]) add(t, r->add_outputs());
    });
  }

  Status ModelInfer(ServerContext* c, const inference::ModelInferRequest* q,
                    inference::ModelInferResponse* r) override {
    const auto thread = std::make_shared<RpcThread>();
    bool done = false;
    Status status = guarded(c, [&] {
      begin(
          *q, *c, "ModelInfer", thread, false,
          [&](inference::ModelInferResponse&& answer, bool) {
            *r = std::move(answer);
            done = true;
          },
          [&](const ApiError& e) {
            status = status_of(e);
            done = true;
          });
    });
    if (!status.ok()) return status;
    thread->run([&] { return done; }, [&] { return c->IsCancelled(); });
    return done ? status : Status::CANCELLED;
  }

  // Requests of one stream run side by side; errors are answers, as Triton's are.
  Status ModelStreamInfer(ServerContext* c,
                          grpc::ServerReaderWriter<inference::ModelStreamInferResponse,
                                                   inference::ModelInferRequest>* wire) override {
    if (const Status s = guarded(c, [] {}); !s.ok()) return s;
    const auto thread = std::make_shared<RpcThread>();
    bool read_all = false;  // both of `thread`
    int running = 0;
    std::jthread reader([&] {
      inference::ModelInferRequest q;
      while (wire->Read(&q))
        thread->post([&, q] { answer_in_stream(q, *c, thread, wire, running); });
      thread->post([&] { read_all = true; });
    });
    thread->run([&] { return (read_all || room_.draining) && running == 0; },
                [&] { return c->IsCancelled(); });
    if (read_all) return Status::OK;
    if (!c->IsCancelled()) c->TryCancel();  // the reader waits for more
    return Status::CANCELLED;
  }

 private:
  // ApiError, which the log has then.
  void begin(const inference::ModelInferRequest& q, const ServerContext& c, const char* method,
             const std::shared_ptr<RpcThread>& thread, bool stream, InferCall::OnAnswer answer,
             const InferCall::OnError& error) {
    const auto log = std::make_shared<RpcLog>(options_, c, method, q);
    const auto note = [log, error](const ApiError& e) {
      log->failed(e);
      error(e);
    };
    try {
      InferCall::run(room_, q, thread, stream, log, std::move(answer), note);
    } catch (const ApiError& e) {
      log->failed(e);
      throw;
    } catch (const Error& e) {
      log->failed(ApiError(400, e.what()));
      throw ApiError(400, e.what());
    }
  }

  template <typename Wire>
  void answer_in_stream(const inference::ModelInferRequest& q, const ServerContext& c,
                        const std::shared_ptr<RpcThread>& thread, Wire* wire, int& running) {
    const auto complain = [wire, &running, id = q.id(), model = q.model_name()](const ApiError& e) {
      inference::ModelStreamInferResponse r;
      r.set_error_message(e.what());
      r.mutable_infer_response()->set_id(id);
      r.mutable_infer_response()->set_model_name(model);
      wire->Write(r);
      --running;
    };
    ++running;
    try {
      begin(
          q, c, "ModelStreamInfer", thread, true,
          [wire, &running](inference::ModelInferResponse&& answer, bool last) {
            inference::ModelStreamInferResponse r;
            *r.mutable_infer_response() = std::move(answer);
            wire->Write(r);
            running -= last;
          },
          complain);
    } catch (const ApiError& e) {
      complain(e);
    } catch (const std::exception& e) {
      log::error("request {}: {}", q.id(), e.what());
      complain(ApiError(500, "internal error"));
    }
  }

  template <typename F>
  Status guarded(ServerContext* c, F f) {
    try {
      HttpRequest head;
      for (const char* name : {"authorization", "x-api-key"})
        if (const auto it = c->client_metadata().find(name); it != c->client_metadata().end())
          head.headers.emplace_back(name, std::string(it->second.data(), it->second.size()));
      const Access::Verdict verdict = access_.check(head, false);
      if (!verdict.error.empty()) return {StatusCode::UNAUTHENTICATED, verdict.error};
      f();
      return Status::OK;
    } catch (const ApiError& e) {
      return status_of(e);
    } catch (const Error& e) {
      return {StatusCode::INVALID_ARGUMENT, e.what()};
    } catch (const std::exception& e) {
      log::error("a call failed: {}", e.what());
      return {StatusCode::INTERNAL, "internal error"};
    }
  }

  EngineRoom& room_;
  const GrpcOptions options_;
  const Access access_;
};

class Server final : public GrpcServer {
 public:
  Server(EngineRoom& room, const GrpcOptions& o) : service_(room, o) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(o.max_message_bytes);
    builder.AddListeningPort(fmt::format("{}:{}", o.host, o.port), credentials(o), &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    if (!server_ || port_ == 0) fail("cannot listen on {} port {} for gRPC", o.host, o.port);
  }
  ~Server() override { drain(0); }
  int port() const override { return port_; }
  void drain(double seconds) override {
    const auto wait = std::chrono::milliseconds(static_cast<int64_t>(seconds * 1e3));
    server_->Shutdown(std::chrono::system_clock::now() + wait);
    server_->Wait();
  }

 private:
  static std::shared_ptr<grpc::ServerCredentials> credentials(const GrpcOptions& o) {
    if (o.certificate.empty()) return grpc::InsecureServerCredentials();
    grpc::SslServerCredentialsOptions ssl;
    ssl.pem_key_cert_pairs.push_back({read_text(o.key), read_text(o.certificate)});
    return grpc::SslServerCredentials(ssl);
  }

  KServeService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace

std::unique_ptr<GrpcServer> start_grpc(EngineRoom& room, const GrpcOptions& options) {
  return std::make_unique<Server>(room, options);
}

}  // namespace tokamak::serve

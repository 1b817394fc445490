// KServe v2 over gRPC: the tensors and answers of serve/kserve.cc in its messages. Each call has a
// thread of gRPC's while it runs.
#include <grpcpp/grpcpp.h>

#include <kserve.grpc.pb.h>
#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "grpc/grpc_server.h"
#include "grpc/rpc_thread.h"
#include "serve/access.h"
#include "serve/api_error.h"
#include "serve/kserve_request.h"
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

void check_model(const EngineRoom& room, const std::string& name, const std::string& version) {
  if (name != room.model || (!version.empty() && version != "1"))
    throw ApiError(404, fmt::format("model: '{}' is not served here, '{}' is", name, room.model));
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
  for (const auto& output : r.outputs())
    if (output.name() != "text_output")
      throw ApiError(
          400, fmt::format("outputs: '{}' is none, text_output is the only one", output.name()));
  return tensors;
}

// One request while it runs; lives on its call's thread.
class InferCall : public std::enable_shared_from_this<InferCall> {
 public:
  using OnAnswer = std::function<void(inference::ModelInferResponse&&, bool last)>;
  using OnError = std::function<void(const ApiError&)>;

  // ApiError. Pieces are answers of their own where `stream`.
  static void run(EngineRoom& room, const inference::ModelInferRequest& request,
                  std::shared_ptr<RpcThread> thread, bool stream, OnAnswer answer, OnError error) {
    check_model(room, request.model_name(), request.model_version());
    InferRequest r = InferRequest::from(room, tensors_of(request));
    const auto self = std::make_shared<InferCall>();
    self->id_ = request.id();
    self->model_ = room.model;
    self->shape_ = r.shape;
    self->texts_.resize(r.generation.prompts.size());
    self->stream_ = stream;
    self->answer_ = std::move(answer);
    self->error_ = std::move(error);
    Generation::run(room, std::move(r.generation), std::move(thread), self);
  }

  void take(Piece&& p) {
    texts_[p.choice] += p.text;
    if (stream_ && !p.text.empty()) say(false);
  }
  void end(const Usage&, const std::string& error) {
    if (!error.empty()) return error_(ApiError(500, error));
    say(true);
  }

 private:
  void say(bool last) {
    inference::ModelInferResponse r;
    r.set_model_name(model_);
    r.set_model_version("1");
    r.set_id(id_);
    if (!stream_ || !last) {
      auto* output = r.add_outputs();
      output->set_name("text_output");
      output->set_datatype("BYTES");
      for (const int64_t d : shape_) output->add_shape(d);
      r.add_raw_output_contents(raw_strings(texts_));
    }
    if (stream_) (*r.mutable_parameters())["triton_final_response"].set_bool_param(last);
    for (std::string& t : texts_) t.clear();
    answer_(std::move(r), last);
  }

  std::string id_, model_;
  std::vector<int64_t> shape_;
  std::vector<std::string> texts_;
  bool stream_ = false;
  OnAnswer answer_;
  OnError error_;
};

class KServeService final : public inference::GRPCInferenceService::Service {
 public:
  KServeService(EngineRoom& room, std::vector<std::string> keys)
      : room_(room), access_(std::move(keys), {}) {}

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
      const Json m = kserve_metadata(room_);
      r->set_name(room_.model);
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
    Status status;
    const Status begun = guarded(c, [&] {
      InferCall::run(
          room_, *q, thread, false,
          [&](inference::ModelInferResponse&& answer, bool) {
            *r = std::move(answer);
            done = true;
          },
          [&](const ApiError& e) {
            status = status_of(e);
            done = true;
          });
    });
    if (!begun.ok()) return begun;
    thread->run([&] { return done; }, [&] { return c->IsCancelled(); });
    return done ? status : Status::CANCELLED;
  }

  // Requests of one stream run side by side; errors are answers, as Triton's are.
  Status ModelStreamInfer(ServerContext* c,
                          grpc::ServerReaderWriter<inference::ModelStreamInferResponse,
                                                   inference::ModelInferRequest>* wire) override {
    if (const Status s = guarded(c, [] {}); !s.ok()) return s;
    const auto thread = std::make_shared<RpcThread>();
    std::atomic<bool> read_all = false;
    int running = 0;  // of `thread`
    std::jthread reader([&] {
      inference::ModelInferRequest q;
      while (wire->Read(&q)) thread->post([&, q] { begin(q, thread, wire, running); });
      thread->post([&] { read_all = true; });
    });
    thread->run([&] { return read_all && running == 0; }, [&] { return c->IsCancelled(); });
    return c->IsCancelled() ? Status::CANCELLED : Status::OK;
  }

 private:
  template <typename Wire>
  void begin(const inference::ModelInferRequest& q, const std::shared_ptr<RpcThread>& thread,
             Wire* wire, int& running) {
    const auto complain = [wire, id = q.id(), model = q.model_name()](const ApiError& e) {
      inference::ModelStreamInferResponse r;
      r.set_error_message(e.what());
      r.mutable_infer_response()->set_id(id);
      r.mutable_infer_response()->set_model_name(model);
      wire->Write(r);
    };
    ++running;
    try {
      InferCall::run(
          room_, q, thread, true,
          [wire, &running](inference::ModelInferResponse&& answer, bool last) {
            inference::ModelStreamInferResponse r;
            *r.mutable_infer_response() = std::move(answer);
            wire->Write(r);
            running -= last;
          },
          [complain, &running](const ApiError& e) {
            complain(e);
            --running;
          });
    } catch (const ApiError& e) {
      complain(e);
      --running;
    } catch (const Error& e) {
      complain(ApiError(400, e.what()));
      --running;
    }
  }

  template <typename F>
  Status guarded(ServerContext* c, F f) {
    try {
      HttpRequest head;
      const auto it = c->client_metadata().find("authorization");
      if (it != c->client_metadata().end())
        head.headers.emplace_back("authorization",
                                  std::string(it->second.data(), it->second.size()));
      const Access::Verdict verdict = access_.check(head, false);
      if (!verdict.error.empty()) return {StatusCode::UNAUTHENTICATED, verdict.error};
      f();
      return Status::OK;
    } catch (const ApiError& e) {
      return status_of(e);
    } catch (const Error& e) {
      return {StatusCode::INVALID_ARGUMENT, e.what()};
    } catch (const std::exception&) {
      return {StatusCode::INTERNAL, "internal error"};
    }
  }

  EngineRoom& room_;
  const Access access_;
};

class Server final : public GrpcServer {
 public:
  Server(EngineRoom& room, const GrpcOptions& o) : service_(room, o.api_keys) {
    grpc::ServerBuilder builder;
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

// KServe v2 over gRPC as a client sees it; what it answers is compared with HTTP's answers.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <kserve.grpc.pb.h>

#include "grpc/grpc_server.h"
#include "runtime/tiny_adapter.h"
#include "serve/engine_room.h"
#include "serve/kserve_tensors.h"
#include "serve/tiny_server.h"

namespace tokamak::serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Request = inference::ModelInferRequest;

ServeOptions options(const std::string& adapter) {
  ServeOptions o;
  o.lora_modules = {{"7", adapter}};
  return o;
}

class GrpcTest : public ::testing::Test {
 protected:
  GrpcTest()
      : model_(true),
        tiny_(model_, options(testing::write_tiny_adapter(folder_.path() / "lora", 1).string()),
              8) {}
  void start(GrpcOptions o = {}) {
    o.log_requests = false;
    grpc_ = start_grpc(tiny_.server->room(), o);
    stub_ = inference::GRPCInferenceService::NewStub(grpc::CreateChannel(
        fmt::format("127.0.0.1:{}", grpc_->port()), grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    grpc_.reset();
    EXPECT_TRUE(tiny_.server->drain(20));
    EXPECT_EQ(tiny_.server->stats().kv_blocks_used, 0) << "blocks are lost";
  }

  static auto* input(Request& r, const char* name, const char* type, std::vector<int64_t> shape) {
    auto* t = r.add_inputs();
    t->set_name(name);
    t->set_datatype(type);
    for (const int64_t d : shape) t->add_shape(d);
    return t;
  }
  static Request ask(const std::vector<std::string>& prompts, int32_t tokens) {
    Request r;
    r.set_model_name("tiny");
    r.set_id("a request");
    const auto count = static_cast<int64_t>(prompts.size());
    auto* text = input(r, "text_input", "BYTES", {count, 1})->mutable_contents();
    for (const std::string& p : prompts) text->add_bytes_contents(p);
    input(r, "max_tokens", "INT32", {1, 1})->mutable_contents()->add_int_contents(tokens);
    input(r, "ignore_eos", "BOOL", {1, 1})->mutable_contents()->add_bool_contents(true);
    return r;
  }
  grpc::Status infer(const Request& r, inference::ModelInferResponse& answer) {
    grpc::ClientContext context;
    return stub_->ModelInfer(&context, r, &answer);
  }
  inference::ModelInferResponse ok(const Request& r) {
    inference::ModelInferResponse answer;
    const grpc::Status s = infer(r, answer);
    EXPECT_TRUE(s.ok()) << s.error_message();
    return answer;
  }
  static std::vector<std::string> texts(const inference::ModelInferResponse& r) {
    std::vector<std::string> all;
    if (r.raw_output_contents_size() > 0)
      for (const Json& t :
           tensor_elements("text_output", "BYTES", r.outputs(0).shape(0), r.raw_output_contents(0)))
        all.push_back(t);
    return all;
  }
  // What HTTP answers.
  std::string said(const std::string& prompt, int64_t tokens, const std::string& model = "tiny") {
    const Json body = {{"text_input", prompt}, {"max_tokens", tokens}, {"ignore_eos", true}};
    return tiny_.ok("/v2/models/" + model + "/generate", body).at("text_output");
  }
  std::vector<inference::ModelStreamInferResponse> stream(const std::vector<Request>& requests) {
    grpc::ClientContext context;
    const auto wire = stub_->ModelStreamInfer(&context);
    for (const Request& r : requests) EXPECT_TRUE(wire->Write(r));
    wire->WritesDone();
    std::vector<inference::ModelStreamInferResponse> all(1);
    while (wire->Read(&all.back())) all.emplace_back();
    all.pop_back();
    EXPECT_TRUE(wire->Finish().ok());
    return all;
  }
  static bool is_last(const inference::ModelInferResponse& r) {
    return r.parameters().at("triton_final_response").bool_param();
  }

  testing::TempDir folder_;
  TinyModel model_;
  TinyServer tiny_;
  std::unique_ptr<GrpcServer> grpc_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> stub_;
};

TEST_F(GrpcTest, HealthAndMetadata) {
  start();
  grpc::ClientContext a, b, c, d, e, f;
  inference::ServerLiveResponse live;
  ASSERT_TRUE(stub_->ServerLive(&a, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(stub_->ServerReady(&b, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ModelReadyRequest which;
  which.set_name("tiny");
  inference::ModelReadyResponse model_ready;
  ASSERT_TRUE(stub_->ModelReady(&c, which, &model_ready).ok());
  EXPECT_TRUE(model_ready.ready());
  which.set_name("other");
  EXPECT_EQ(stub_->ModelReady(&d, which, &model_ready).error_code(), grpc::StatusCode::NOT_FOUND);
  inference::ServerMetadataResponse server;
  ASSERT_TRUE(stub_->ServerMetadata(&e, {}, &server).ok());
  EXPECT_EQ(server.name(), "tokamak");
  inference::ModelMetadataRequest about;
  about.set_name("7");
  inference::ModelMetadataResponse model;
  ASSERT_TRUE(stub_->ModelMetadata(&f, about, &model).ok());
  EXPECT_EQ(model.inputs(0).name(), "text_input");
  EXPECT_EQ(model.outputs(0).name(), "text_output");
}

TEST_F(GrpcTest, InfersAsHttpDoes) {
  start();
  const auto a = ok(ask({"hello there", "and now?"}, 7));
  EXPECT_EQ(a.id(), "a request");
  EXPECT_EQ(a.outputs(0).name(), "text_output");
  EXPECT_THAT(texts(a), ElementsAre(said("hello there", 7), said("and now?", 7)));
  Request raw = ask({}, 7);
  raw.mutable_inputs(0)->set_shape(0, 1);
  for (auto& t : *raw.mutable_inputs()) t.clear_contents();
  raw.add_raw_input_contents(raw_strings({"hello there"}));
  raw.add_raw_input_contents(std::string("\7\0\0\0", 4));
  raw.add_raw_input_contents("\1");
  EXPECT_THAT(texts(ok(raw)), ElementsAre(said("hello there", 7)));
}

TEST_F(GrpcTest, TheBackendsInputs) {
  start();
  Request r = ask({"hello there"}, 5);
  input(r, "beam_width", "INT32", {1, 1})->mutable_contents()->add_int_contents(3);
  input(r, "return_log_probs", "BOOL", {1, 1})->mutable_contents()->add_bool_contents(true);
  input(r, "stop_words", "BYTES", {1, 1})->mutable_contents()->add_bytes_contents("");
  const auto beams = ok(r);
  EXPECT_EQ(texts(beams).size(), 3u);
  ASSERT_EQ(beams.outputs_size(), 3);
  EXPECT_EQ(beams.outputs(1).name(), "cum_log_probs");
  EXPECT_THAT(beams.outputs(2).shape(), ElementsAre(3, 5));
  std::vector<float> sums(3), each(15);
  std::memcpy(sums.data(), beams.raw_output_contents(1).data(), 12);
  std::memcpy(each.data(), beams.raw_output_contents(2).data(), 60);
  for (size_t beam = 0; beam < 3; ++beam) {
    float sum = 0;
    for (size_t i = 0; i < 5; ++i) sum += each[5 * beam + i];
    EXPECT_NEAR(sums[beam], sum, 1e-5);
    EXPECT_LE(sums[beam], sums[0] + 1e-5);
  }
  Request adapter = ask({"hello there"}, 12);
  input(adapter, "lora_task_id", "UINT64", {1, 1})->mutable_contents()->add_uint64_contents(7);
  Request by_name = ask({"hello there"}, 12);
  by_name.set_model_name("7");
  const std::string with = said("hello there", 12, "7");
  EXPECT_NE(with, said("hello there", 12));
  EXPECT_THAT(texts(ok(adapter)), ElementsAre(with));
  EXPECT_THAT(texts(ok(by_name)), ElementsAre(with));
}

TEST_F(GrpcTest, ErrorsSayWhatIsWrong) {
  start();
  inference::ModelInferResponse answer;
  Request r = ask({"hello"}, 5);
  r.set_model_name("other");
  EXPECT_EQ(infer(r, answer).error_code(), grpc::StatusCode::NOT_FOUND);
  r = ask({"hello"}, 100000);
  const grpc::Status too_long = infer(r, answer);
  EXPECT_EQ(too_long.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(too_long.error_message(), HasSubstr("max_tokens"));
  r = ask({"hello"}, 5);
  input(r, "colour", "INT32", {1})->mutable_contents()->add_int_contents(1);
  EXPECT_THAT(infer(r, answer).error_message(), HasSubstr("colour"));
  r = ask({"hello"}, 5);
  r.mutable_inputs(0)->set_shape(0, -1);
  EXPECT_EQ(infer(r, answer).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  r = ask({"hello"}, 5);
  r.add_raw_input_contents("x");
  EXPECT_EQ(infer(r, answer).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  r = ask({"hello"}, 5);
  r.add_outputs()->set_name("picture");
  EXPECT_THAT(infer(r, answer).error_message(), HasSubstr("picture"));
  r = ask({std::string("\xff\xfe\0", 3)}, 5);  // not UTF-8: bytes like others
  EXPECT_TRUE(infer(r, answer).ok());
}

TEST_F(GrpcTest, StreamsPieces) {
  start();
  Request pieces = ask({"hello there"}, 9), whole = pieces;
  input(pieces, "stream", "BOOL", {1, 1})->mutable_contents()->add_bool_contents(true);
  const std::string expected = said("hello there", 9);
  for (const bool empty_end : {false, true}) {
    (*pieces.mutable_parameters())["triton_enable_empty_final_response"].set_bool_param(empty_end);
    const auto all = stream({pieces});
    ASSERT_GT(all.size(), 2u);
    std::string joined;
    for (const auto& r : all) {
      EXPECT_EQ(r.error_message(), "");
      EXPECT_EQ(is_last(r.infer_response()), &r == &all.back());
      for (const std::string& t : texts(r.infer_response())) joined += t;
    }
    EXPECT_EQ(all.back().infer_response().outputs_size(), empty_end ? 0 : 1);
    EXPECT_EQ(joined, expected);
  }
  const auto one = stream({whole});  // as the backend does, unless pieces are asked for
  ASSERT_EQ(one.size(), 1u);
  EXPECT_TRUE(is_last(one[0].infer_response()));
  EXPECT_THAT(texts(one[0].infer_response()), ElementsAre(expected));
}

TEST_F(GrpcTest, AStreamCarriesManyRequests) {
  start();
  std::vector<Request> requests;
  for (int i = 0; i < 20; ++i) {
    requests.push_back(ask({fmt::format("prompt {}", i)}, 6));
    input(requests.back(), "stream", "BOOL", {1})->mutable_contents()->add_bool_contents(true);
    requests.back().set_id(std::to_string(i));
  }
  requests[3].set_model_name("other");
  std::map<std::string, std::string> joined;
  std::string error;
  for (const auto& r : stream(requests)) {
    if (!r.error_message().empty()) error += r.infer_response().id();
    for (const std::string& t : texts(r.infer_response())) joined[r.infer_response().id()] += t;
  }
  EXPECT_EQ(error, "3");
  EXPECT_EQ(joined.size(), 19u);
  for (const auto& [id, text] : joined) EXPECT_EQ(text, said("prompt " + id, 6));
}

TEST_F(GrpcTest, AClientThatGoesEndsItsRequests) {
  start();
  Request r = ask({"hello there"}, 200);
  input(r, "stream", "BOOL", {1})->mutable_contents()->add_bool_contents(true);
  {
    grpc::ClientContext context;
    const auto wire = stub_->ModelStreamInfer(&context);
    for (int i = 0; i < 4; ++i) wire->Write(r);
    inference::ModelStreamInferResponse first;
    EXPECT_TRUE(wire->Read(&first));
    context.TryCancel();
    EXPECT_FALSE(wire->Finish().ok());
  }
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(1));
  inference::ModelInferResponse answer;
  EXPECT_EQ(stub_->ModelInfer(&context, r, &answer).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(texts(ok(ask({"hello there"}, 3))), ElementsAre(said("hello there", 3)));
}

TEST_F(GrpcTest, KeysAreNeeded) {
  start({.api_keys = {"secret"}});
  inference::ModelInferResponse answer;
  EXPECT_EQ(infer(ask({"hello"}, 2), answer).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  grpc::ClientContext context;
  context.AddMetadata("authorization", "Bearer secret");
  EXPECT_TRUE(stub_->ModelInfer(&context, ask({"hello"}, 2), &answer).ok());
}

TEST_F(GrpcTest, DrainsWithAnIdleStreamOpen) {
  start();
  grpc::ClientContext context;
  const auto wire = stub_->ModelStreamInfer(&context);
  wire->Write(ask({"hello there"}, 3));
  inference::ModelStreamInferResponse first;
  EXPECT_TRUE(wire->Read(&first));
  const double begin = now_s();
  EXPECT_TRUE(tiny_.server->drain(20));
  grpc_->drain(20);
  EXPECT_LT(now_s() - begin, 5);
  EXPECT_FALSE(wire->Read(&first));
  wire->Finish();
}

}  // namespace
}  // namespace tokamak::serve

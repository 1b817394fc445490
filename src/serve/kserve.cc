// KServe v2 over HTTP with Triton's extensions: binary tensors, generate in the words of its
// TensorRT-LLM backend.
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "serve/fields.h"
#include "serve/generation.h"
#include "serve/kserve_outputs.h"
#include "serve/kserve_tensors.h"
#include "serve/protocols.h"
#include "tokamak/version.h"

namespace tokamak::serve {
namespace {

using CallPtr = std::shared_ptr<Call>;

constexpr const char* kHeaderLength = "Inference-Header-Content-Length";

// /v2/models/NAME[/versions/1][/WHAT]: the name, which may contain slashes.
std::string model_of(std::string_view path) {
  path.remove_prefix(std::string_view("/v2/models/").size());
  for (const std::string_view end :
       {"/ready", "/generate", "/generate_stream", "/infer", "/versions/1"})
    if (path.ends_with(end)) path.remove_suffix(end.size());
  return std::string(path);
}

class Generate : public std::enable_shared_from_this<Generate> {
 public:
  Generate(EngineRoom& room, CallPtr call, bool stream)
      : room_(room), call_(std::move(call)), stream_(stream) {}

  void run() {
    model_ = model_of(call_->request().path);
    room_.loras.find(model_);
    const Json body = call_->body();
    const Fields f(body);
    if (!f.get("text_input").is_string()) f.wrong("text_input", "a string");
    KServeRequest r = read_generate(room_, model_, body, {*f.string("text_input")});
    pieces_ = stream_ && r.stream.value_or(true);
    outputs_ = KServeOutputs(r);
    Generation::run(room_, std::move(r.generation), call_->reply(), shared_from_this());
    if (stream_) call_->begin_events();
  }

 private:
  friend Generation;
  Json answer() const {
    Json all = outputs_.fields();
    all["model_name"] = model_;
    all["model_version"] = "1";
    return all;
  }
  void take(Piece&& p) {
    outputs_.take(std::move(p));
    if (!pieces_ || !outputs_.any()) return;
    call_->event(answer());
    outputs_.clear();
  }
  void end(const Usage& u, const std::string& error) {
    call_->note_usage(u.prompt_tokens, u.completion_tokens);
    if (!error.empty()) return call_->error(ApiError(500, error));
    if (!stream_) return call_->json(200, answer());
    if (!pieces_) call_->event(answer());
    call_->end_events();
  }

  EngineRoom& room_;
  const CallPtr call_;
  const bool stream_;
  bool pieces_ = false;
  std::string model_;
  KServeOutputs outputs_;
};

// A request by tensors, whose values stand in the JSON text or behind it as bytes.
class Infer : public std::enable_shared_from_this<Infer> {
 public:
  Infer(EngineRoom& room, CallPtr call) : room_(room), call_(std::move(call)) {}

  void run() {
    model_ = model_of(call_->request().path);
    room_.loras.find(model_);
    KServeRequest r = read_infer(room_, model_, read());
    outputs_ = KServeOutputs(r, wanted_);
    Generation::run(room_, std::move(r.generation), call_->reply(), shared_from_this());
  }

 private:
  friend Generation;

  // Bytes of JSON: all of the body, unless a header says that tensors follow.
  size_t json_size() const {
    const std::string_view given = call_->request().header(kHeaderLength);
    const size_t all = call_->request().body.size();
    if (given.empty()) return all;
    size_t n = 0;
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), n);
    if (error != std::errc() || end != given.data() + given.size() || n > all)
      throw ApiError(400, fmt::format("{} is '{}': expected at most the body's {} bytes",
                                      kHeaderLength, given, all));
    return n;
  }

  std::vector<InferTensor> read() {
    const std::string_view all = call_->request().body;
    const size_t size = json_size();
    std::string_view bytes = all.substr(size);
    const Json body = Call::parse_body(all.substr(0, size));
    const Fields f(body);
    id_ = f.string("id").value_or("");
    if (const Json* p = f.find("parameters"))
      binary_ = Fields(*p, "parameters").flag("binary_data_output");
    read_outputs(f);
    if (!f.get("inputs").is_array()) f.wrong("inputs", "an array of tensors");
    std::vector<InferTensor> tensors;
    for (const Json& input : body["inputs"])
      tensors.push_back(
          read_tensor(Fields(input, fmt::format("inputs[{}]", tensors.size())), bytes));
    if (!bytes.empty())
      throw ApiError(400, fmt::format("{} bytes behind the last tensor", bytes.size()));
    return tensors;
  }

  void read_outputs(const Fields& f) {
    const Json* outputs = f.find("outputs");
    if (!outputs) return;
    if (!outputs->is_array()) f.wrong("outputs", "an array");
    for (const Json& o : *outputs) {
      const Fields output(o, "outputs");
      if (!output.get("name").is_string()) output.wrong("name", "a string");
      wanted_.push_back(*output.string("name"));
      if (const Json* p = output.find("parameters"))
        if (const auto binary = Fields(*p, "outputs.parameters").boolean("binary_data"))
          binary_of_[wanted_.back()] = *binary;
    }
  }

  // Takes the tensor's bytes, where it has any, from the front of `bytes`.
  static InferTensor read_tensor(const Fields& f, std::string_view& bytes) {
    for (const char* needed : {"name", "datatype"})
      if (!f.get(needed).is_string()) f.wrong(needed, "a string");
    InferTensor t{*f.string("name"), *f.string("datatype"), {}, Json::array()};
    if (!f.get("shape").is_array()) f.wrong("shape", "an array of integers");
    for (const Json& d : f.get("shape")) {
      if (!d.is_number_integer()) f.wrong("shape", d, "an array of integers");
      t.shape.push_back(d.get<int64_t>());
    }
    const int64_t count = element_count(t.name, t.shape);
    const Json* parameters = f.find("parameters");
    const auto size =
        parameters ? Fields(*parameters, "parameters").integer("binary_data_size") : std::nullopt;
    if (!size) {
      if (!f.get("data").is_array()) f.wrong("data", "an array");
      flatten(f.get("data"), t.data);
      return t;
    }
    if (*size < 0 || static_cast<size_t>(*size) > bytes.size())
      f.wrong("parameters", fmt::format("a binary_data_size of at most {} bytes", bytes.size()));
    t.data = tensor_elements(t.name, t.datatype, count, bytes.substr(0, *size));
    bytes.remove_prefix(*size);
    return t;
  }

  // Rows may be arrays of their own.
  static void flatten(const Json& data, Json& out) {
    if (!data.is_array()) return out.push_back(data);
    for (const Json& item : data) flatten(item, out);
  }

  void take(Piece&& p) { outputs_.take(std::move(p)); }

  void end(const Usage& u, const std::string& error) {
    call_->note_usage(u.prompt_tokens, u.completion_tokens);
    if (!error.empty()) return call_->error(ApiError(500, error));
    Json all = {{"model_name", model_}, {"model_version", "1"}, {"outputs", Json::array()}};
    if (!id_.empty()) all["id"] = id_;
    std::string bytes;
    bool any = false;
    for (OutputTensor& t : outputs_.tensors()) {
      Json output = {{"name", t.name}, {"datatype", t.datatype}, {"shape", t.shape}};
      const auto it = binary_of_.find(t.name);
      if (it != binary_of_.end() ? it->second : binary_) {
        any = true;
        bytes += t.bytes;
        output["parameters"] = {{"binary_data_size", t.bytes.size()}};
      } else {
        output["data"] = std::move(t.data);
      }
      all["outputs"].push_back(std::move(output));
    }
    if (!any) return call_->json(200, all);
    const std::string json = to_text(all);
    call_->text(200, "application/octet-stream", json + bytes,
                {{kHeaderLength, std::to_string(json.size())}});
  }

  EngineRoom& room_;
  const CallPtr call_;
  std::string id_, model_;
  bool binary_ = false;                    // outputs as bytes, unless one says otherwise
  std::map<std::string, bool> binary_of_;  // that do
  std::vector<std::string> wanted_;        // outputs, by name; empty: all
  KServeOutputs outputs_;
};

void get(EngineRoom& room, const CallPtr& call, const std::string& path) {
  if (path == "/v2")
    return call->json(200, {{"name", "tokamak"},
                            {"version", kVersion},
                            {"extensions", {"generate", "binary_tensor_data"}}});
  if (path == "/v2/health/live") return call->json(200, Json::object());
  const bool health = path == "/v2/health/ready";
  const std::string model = health ? room.model : model_of(path);
  room.loras.find(model);
  if (path.ends_with("/ready")) {
    if (room.draining) throw ApiError(503, "the server is shutting down");
    return call->json(200, Json::object());
  }
  call->json(200, kserve_metadata(model));
}

}  // namespace

void handle_kserve(EngineRoom& room, std::shared_ptr<Call> call) {
  const std::string& path = call->request().path;
  if (call->request().method != "POST") return get(room, call, path);
  if (path.ends_with("/infer")) return std::make_shared<Infer>(room, std::move(call))->run();
  const bool stream = path.ends_with("/generate_stream");
  std::make_shared<Generate>(room, std::move(call), stream)->run();
}

}  // namespace tokamak::serve

// KServe v2 over HTTP with Triton's generate extension, in the words of its TensorRT-LLM backend.
#include <nlohmann/json.hpp>

#include "serve/generation.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"
#include "text/tokenizer.h"
#include "tokamak/version.h"

namespace tokamak::serve {
namespace {

using CallPtr = std::shared_ptr<Call>;

// The request's fields, those of "parameters" too, under our names.
Json to_sampling(const Json& body) {
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"temperature", "temperature"},
      {"top_k", "top_k"},
      {"top_p", "top_p"},
      {"min_p", "min_p"},
      {"repetition_penalty", "repetition_penalty"},
      {"presence_penalty", "presence_penalty"},
      {"frequency_penalty", "frequency_penalty"},
      {"random_seed", "seed"},
      {"seed", "seed"},
      {"stop_words", "stop"},
      {"stop", "stop"},
      {"bad_words", "bad_words"},
      {"min_length", "min_tokens"},
      {"max_tokens", "max_tokens"},
      {"ignore_eos", "ignore_eos"}};
  Json out = Json::object();
  const auto take = [&](const Json& from) {
    for (const auto& [theirs, ours] : kNames)
      if (const auto it = from.find(theirs); it != from.end()) out[ours] = *it;
  };
  if (const auto it = body.find("parameters"); it != body.end() && it->is_object()) take(*it);
  take(body);
  for (const char* list : {"stop", "bad_words"})  // Triton's clients send "" for none
    if (out.contains(list) && (out[list] == "" || out[list] == Json::array({""}))) out.erase(list);
  return out;
}

class Generate : public std::enable_shared_from_this<Generate> {
 public:
  Generate(EngineRoom& room, CallPtr call, bool stream)
      : room_(room), call_(std::move(call)), stream_(stream) {}

  void run() {
    const Json body = call_->body();
    const Fields f(body);
    if (f.integer("beam_width", 1, 64).value_or(1) != 1)
      f.wrong("beam_width", "1: beam search is not supported");
    if (!f.get("text_input").is_string()) f.wrong("text_input", "a string");
    GenerationRequest g;
    g.prompts = {room_.need_tokenizer("text_input").encode(*f.string("text_input"))};
    if (g.prompts[0].empty()) f.wrong("text_input", "a text that is not empty");
    const Json sampling = to_sampling(body);
    const Fields s(sampling);
    g.params = read_sampling(s, room_);
    g.params.max_tokens = read_max_tokens(s, {"max_tokens"}, 16, g.prompts[0].size(), room_);
    if (g.params.max_tokens == 0) s.wrong("max_tokens", "at least 1");
    Generation::run(room_, std::move(g), call_->reply(), shared_from_this());
    if (stream_) call_->begin_events();
  }

 private:
  friend Generation;
  Json answer(const std::string& text) const {
    return {{"model_name", room_.model}, {"model_version", "1"}, {"text_output", text}};
  }
  void take(Piece&& p) {
    if (!stream_)
      text_ += p.text;
    else if (!p.text.empty())
      call_->event(answer(p.text));
  }
  void end(const Usage& u, const std::string& error) {
    call_->note_usage(u.prompt_tokens, u.completion_tokens);
    if (!error.empty()) return call_->error(ApiError(500, error));
    if (stream_) return call_->end_events();
    call_->json(200, answer(text_));
  }

  EngineRoom& room_;
  const CallPtr call_;
  const bool stream_;
  std::string text_;
};

Json metadata(const EngineRoom& room) {
  const auto tensor = [](const char* name, const char* type) {
    return Json{{"name", name}, {"datatype", type}, {"shape", {1}}};
  };
  return {{"name", room.model},
          {"versions", {"1"}},
          {"platform", "tokamak"},
          {"inputs", {tensor("text_input", "BYTES"), tensor("max_tokens", "INT32")}},
          {"outputs", {tensor("text_output", "BYTES")}}};
}

void get(EngineRoom& room, const CallPtr& call, const std::string& path) {
  if (path.empty())
    return call->json(
        200,
        {{"name", "tokamak"}, {"version", kVersion}, {"extensions", Json::array({"generate"})}});
  if (path == "/health/live") return call->json(200, Json::object());
  const std::string model = "/models/" + room.model;
  if (path == "/health/ready" || path == model + "/ready") {
    if (room.draining) throw ApiError(503, "the server is shutting down");
    return call->json(200, Json::object());
  }
  if (path == model || path == model + "/versions/1") return call->json(200, metadata(room));
  throw ApiError(404, fmt::format("there is no /v2{} here; the model is '{}'", path, room.model));
}

}  // namespace

void handle_kserve(EngineRoom& room, std::shared_ptr<Call> call) {
  std::string path = call->request().path.substr(3);
  if (call->request().method != "POST") return get(room, call, path);
  for (const char* stem : {"", "/versions/1"})
    for (const bool stream : {false, true})
      if (path == fmt::format("/models/{}{}/generate{}", room.model, stem, stream ? "_stream" : ""))
        return std::make_shared<Generate>(room, std::move(call), stream)->run();
  throw ApiError(404, fmt::format("there is no /v2{} here; the model is '{}'", path, room.model));
}

}  // namespace tokamak::serve

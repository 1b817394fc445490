#include "serve/openai_answer.h"

#include <nlohmann/json.hpp>

namespace tokamak::serve {
namespace {

Json usage_json(const Usage& u) {
  return {{"prompt_tokens", u.prompt_tokens},
          {"completion_tokens", u.completion_tokens},
          {"total_tokens", u.prompt_tokens + u.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", u.cached_tokens}}}};
}

}  // namespace

OpenAiAnswer::OpenAiAnswer(std::shared_ptr<Call> call, const char* id, Objects objects)
    : call_(std::move(call)), id_(random_id(id)), objects_(objects), created_(unix_time()) {}

void OpenAiAnswer::read(const Fields& fields, const std::string& model) {
  model_ = model;
  streams_ = fields.flag("stream");
  if (const Json* options = fields.find("stream_options")) {
    include_usage_ = Fields(*options, "stream_options").flag("include_usage");
    if (!streams_) fields.wrong("stream_options", "it only together with \"stream\": true");
  }
}

Json OpenAiAnswer::frame(const char* object, Json choices) const {
  return {{"id", id_},
          {"object", object},
          {"created", created_},
          {"model", model_},
          {"choices", std::move(choices)}};
}

void OpenAiAnswer::send(Json choice) {
  Json chunk = frame(objects_.chunk, Json::array({std::move(choice)}));
  if (include_usage_) chunk["usage"] = nullptr;
  call_->event(chunk);
}

void OpenAiAnswer::end(const Usage& usage, const std::string& error,
                       const std::function<Json()>& choices) {
  call_->note_usage(usage.prompt_tokens, usage.completion_tokens);
  if (!error.empty()) return call_->error(ApiError(500, error));
  Json last =
      frame(streams_ ? objects_.chunk : objects_.whole, streams_ ? Json::array() : choices());
  last["usage"] = usage_json(usage);
  if (!streams_) return call_->json(200, last);
  if (include_usage_) call_->event(last);
  call_->event(std::string("[DONE]"));
  call_->end_events();
}

}  // namespace tokamak::serve

// POST /v1/messages, as Anthropic's clients ask.
#include <nlohmann/json.hpp>

#include "serve/generation.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"

namespace tokamak::serve {
namespace {

// Their names for sampling, in ours.
Json to_sampling(const Fields& f) {
  Json s = Json::object();
  for (const char* same : {"temperature", "top_p", "top_k"})
    if (const Json* v = f.find(same)) s[same] = *v;
  if (const Json* v = f.find("stop_sequences")) s["stop"] = *v;
  return s;
}

class Message : public std::enable_shared_from_this<Message> {
 public:
  Message(EngineRoom& room, std::shared_ptr<Call> call) : room_(room), call_(std::move(call)) {}

  void run() {
    const Json body = call_->body();
    const Fields f(body);
    check_model(f, room_);
    refuse(f, {"tools", "thinking"});
    Json messages = f.get("messages");
    if (const Json* system = f.find("system"); system && messages.is_array())
      messages.insert(messages.begin(), Json{{"role", "system"}, {"content", *system}});
    GenerationRequest g;
    g.prompts = {chat_prompt(room_, messages)};
    const Json sampling = to_sampling(f);
    g.params = read_sampling(Fields(sampling), room_);
    f.get("max_tokens");
    g.params.max_tokens = read_max_tokens(f, {"max_tokens"}, 0, g.prompts[0].size(), room_);
    if (g.params.max_tokens == 0) f.wrong("max_tokens", "at least 1");
    stream_ = f.flag("stream");
    const auto prompt_tokens = static_cast<int64_t>(g.prompts[0].size());
    Generation::run(room_, std::move(g), call_->reply(), shared_from_this());
    if (stream_) begin(prompt_tokens);
  }

 private:
  friend Generation;
  Json message(Json content, Json stop_reason, int64_t input, int64_t output) const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", room_.model},
            {"content", std::move(content)},
            {"stop_reason", std::move(stop_reason)},
            {"stop_sequence", stop_string_.empty() ? Json() : Json(stop_string_)},
            {"usage", {{"input_tokens", input}, {"output_tokens", output}}}};
  }

  void event(const char* type, Json data) {
    data["type"] = type;
    call_->event(data, type);
  }

  void begin(int64_t prompt_tokens) {
    call_->begin_events();
    event("message_start", {{"message", message(Json::array(), nullptr, prompt_tokens, 0)}});
    event("content_block_start",
          {{"index", 0}, {"content_block", {{"type", "text"}, {"text", ""}}}});
  }

  void take(Piece&& p) {
    if (!p.finish_reason.empty()) {
      stop_string_ = p.stop_string;
      stop_reason_ = !p.stop_string.empty()        ? "stop_sequence"
                     : p.finish_reason == "length" ? "max_tokens"
                                                   : "end_turn";
    }
    if (!stream_)
      text_ += p.text;
    else if (!p.text.empty())
      event("content_block_delta",
            {{"index", 0}, {"delta", {{"type", "text_delta"}, {"text", p.text}}}});
  }

  void end(const Usage& u, const std::string& error) {
    call_->note_usage(u.prompt_tokens, u.completion_tokens);
    if (!error.empty()) return call_->error(ApiError(500, error));
    if (!stream_)
      return call_->json(200, message({{{"type", "text"}, {"text", text_}}}, stop_reason_,
                                      u.prompt_tokens, u.completion_tokens));
    event("content_block_stop", {{"index", 0}});
    event("message_delta",
          {{"delta",
            {{"stop_reason", stop_reason_},
             {"stop_sequence", stop_string_.empty() ? Json() : Json(stop_string_)}}},
           {"usage", {{"output_tokens", u.completion_tokens}}}});
    event("message_stop", Json::object());
    call_->end_events();
  }

  EngineRoom& room_;
  const std::shared_ptr<Call> call_;
  const std::string id_ = random_id("msg_");
  bool stream_ = false;
  std::string text_, stop_reason_, stop_string_;
};

}  // namespace

void post_messages(EngineRoom& room, std::shared_ptr<Call> call) {
  std::make_shared<Message>(room, std::move(call))->run();
}

}  // namespace tokamak::serve

// POST /v1/chat/completions
#include <nlohmann/json.hpp>

#include "serve/generation.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"

namespace tokamak::serve {
namespace {

// Tools and structured output change what the model may say: ignoring them would be an answer to
// another question.
void refuse_unsupported(const Fields& f) {
  refuse(f, {"functions", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "audio",
             "prediction"});
  if (f.find("tools") && f.string("tool_choice").value_or("auto") != "none") refuse(f, {"tools"});
  if (const Json* format = f.find("response_format"))
    if (Fields(*format, "response_format").string("type").value_or("") != "text")
      f.wrong("response_format", "{\"type\": \"text\"}: structured output is not supported");
}

class ChatCompletion : public std::enable_shared_from_this<ChatCompletion> {
 public:
  ChatCompletion(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call)
      : room_(room), tokens_(tokens), call_(std::move(call)) {}

  void run() {
    const Json body = call_->body();
    const Fields f(body);
    check_model(f, room_);
    refuse_unsupported(f);
    GenerationRequest g;
    g.prompts = {chat_prompt(room_, f.get("messages"))};
    read_shared(f, room_, g);
    g.params.max_tokens =
        read_max_tokens(f, {"max_completion_tokens", "max_tokens"}, 0, g.prompts[0].size(), room_);
    if (g.params.max_tokens == 0) f.wrong("max_tokens", "at least 1");
    read_logprobs(f, g.params);
    stream_ = read_stream(f);
    choices_.resize(static_cast<size_t>(g.n));
    Generation::run(room_, std::move(g), call_->reply(), shared_from_this());
    if (stream_.stream) call_->begin_events();
  }

 private:
  friend Generation;
  struct Choice {
    std::string text, finish_reason;
    Json logprobs = Json::array();
    bool begun = false;
  };

  void read_logprobs(const Fields& f, SamplingParams& params) {
    logprobs_ = f.flag("logprobs");
    const auto top = f.integer("top_logprobs", 0, 20);
    if (top && !logprobs_) f.wrong("top_logprobs", "it only together with \"logprobs\": true");
    if (logprobs_) params.logprobs = static_cast<int>(top.value_or(0));
  }

  Json logprobs_of(const Piece& p) const {
    Json content = Json::array();
    for (const OutputToken& t : p.tokens) content.push_back(tokens_.chat_entry(t));
    return content;
  }

  void take(Piece&& p) {
    Choice& c = choices_[p.choice];
    if (stream_.stream) return send_chunks(p, c);
    c.text += p.text;
    c.finish_reason = p.finish_reason;
    if (!logprobs_) return;
    for (Json& entry : logprobs_of(p)) c.logprobs.push_back(std::move(entry));
  }

  Json frame(const char* object) const {
    return {{"id", id_},
            {"object", object},
            {"created", created_},
            {"model", room_.model},
            {"choices", Json::array()}};
  }

  void send_delta(size_t index, Json delta, Json logprobs, const std::string& finish_reason) {
    Json chunk = frame("chat.completion.chunk");
    Json choice = {{"index", index},
                   {"delta", std::move(delta)},
                   {"logprobs", std::move(logprobs)},
                   {"finish_reason", nullptr}};
    if (!finish_reason.empty()) choice["finish_reason"] = finish_reason;
    chunk["choices"].push_back(std::move(choice));
    if (stream_.include_usage) chunk["usage"] = nullptr;
    call_->event(chunk);
  }

  void send_chunks(const Piece& p, Choice& c) {
    if (!c.begun) send_delta(p.choice, {{"role", "assistant"}, {"content", ""}}, nullptr, {});
    c.begun = true;
    if (!p.text.empty() || (logprobs_ && !p.tokens.empty()))
      send_delta(p.choice, {{"content", p.text}},
                 logprobs_ ? Json{{"content", logprobs_of(p)}} : Json(), {});
    if (!p.finish_reason.empty()) send_delta(p.choice, Json::object(), nullptr, p.finish_reason);
  }

  void end(const Usage& u, const std::string& error) {
    call_->note_usage(u.prompt_tokens, u.completion_tokens);
    if (!error.empty()) return call_->error(ApiError(500, error));
    const Json usage = usage_json(u);
    if (stream_.stream) {
      if (stream_.include_usage) {
        Json last = frame("chat.completion.chunk");
        last["usage"] = usage;
        call_->event(last);
      }
      call_->event(std::string("[DONE]"));
      return call_->end_events();
    }
    Json all = frame("chat.completion");
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& c = choices_[i];
      Json choice = {
          {"index", i},
          {"message", {{"role", "assistant"}, {"content", c.text}, {"refusal", nullptr}}},
          {"logprobs", nullptr},
          {"finish_reason", c.finish_reason}};
      if (logprobs_) choice["logprobs"] = {{"content", std::move(c.logprobs)}};
      all["choices"].push_back(std::move(choice));
    }
    all["usage"] = usage;
    call_->json(200, all);
  }

  EngineRoom& room_;
  const TokenText& tokens_;
  const std::shared_ptr<Call> call_;
  const std::string id_ = random_id("chatcmpl-");
  const int64_t created_ = unix_time();
  StreamFields stream_;
  bool logprobs_ = false;
  std::vector<Choice> choices_;
};

}  // namespace

void post_chat_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call) {
  std::make_shared<ChatCompletion>(room, tokens, std::move(call))->run();
}

}  // namespace tokamak::serve

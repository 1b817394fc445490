// POST /v1/chat/completions
#include <algorithm>
#include <nlohmann/json.hpp>

#include "serve/generation.h"
#include "serve/guide_fields.h"
#include "serve/openai_answer.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"
#include "serve/tool_fields.h"
#include "serve/tool_parser.h"

namespace tokamak::serve {
namespace {

// They change what the model may say: ignoring them would be an answer to another question.
void refuse_unsupported(const Fields& f) { refuse(f, {"functions", "audio", "prediction"}); }

class ChatCompletion : public std::enable_shared_from_this<ChatCompletion> {
 public:
  ChatCompletion(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call)
      : room_(room),
        tokens_(tokens),
        call_(std::move(call)),
        answer_(call_, "chatcmpl-", {"chat.completion", "chat.completion.chunk"}) {}

  void run() {
    const Json body = call_->body();
    const Fields f(body);
    check_model(f, room_);
    refuse_unsupported(f);
    GenerationRequest g;
    f.get("messages");
    const OrderedJson ordered = call_->ordered_body();
    const ToolUse tools = read_tools(ordered);
    g.prompts = {chat_prompt(room_, ordered["messages"], &tools)};
    read_shared(f, room_, g);
    g.params.guide = read_guide(f, *call_, room_);
    read_tool_use(f, tools, g);
    g.params.max_tokens =
        read_max_tokens(f, {"max_completion_tokens", "max_tokens"}, 0, g.prompts[0].size(), room_);
    if (g.params.max_tokens == 0) f.wrong("max_tokens", "at least 1");
    read_logprobs(f, g.params);
    answer_.read(f, g.model);
    choices_.resize(static_cast<size_t>(g.n));
    if (!tools.tools.empty())
      for (Choice& c : choices_) c.parser.emplace(format_, tools.forced());
    Generation::run(room_, std::move(g), call_->reply(), shared_from_this());
    if (answer_.streams()) call_->begin_events();
  }

 private:
  friend Generation;
  struct Choice {
    std::string text, finish_reason;
    Json logprobs = Json::array();
    bool begun = false;
    std::optional<ToolParser> parser;  // when tools may be called
    Json calls = Json::array();
  };

  void read_tool_use(const Fields& f, const ToolUse& tools, GenerationRequest& g) {
    if (tools.tools.empty()) return;
    g.special_text = true;  // marks of calls may be special tokens
    if (!tools.forced()) return;
    if (g.params.guide)
      f.wrong("response_format", "none of its kind when tool_choice demands a call");
    g.params.guide = guide_of_calls(tools, format_, room_);
  }

  // Calls leave the piece's text; in a stream their deltas are returned, else they are kept.
  Json take_calls(Piece& p, Choice& c) {
    Json deltas = Json::array();
    ToolNews news = c.parser->push(p.text);
    const auto add = [&](const ToolNews::Call& call) {
      Json delta = {{"index", call.index}, {"function", {{"arguments", call.arguments}}}};
      if (!call.name.empty()) {
        delta["id"] = call_id(format_);
        delta["type"] = "function";
        delta["function"]["name"] = call.name;
        c.calls.push_back({{"id", delta["id"]},
                           {"type", "function"},
                           {"function", {{"name", call.name}, {"arguments", ""}}}});
      }
      Json& arguments = c.calls[call.index]["function"]["arguments"];
      arguments = arguments.get<std::string>() + call.arguments;
      deltas.push_back(std::move(delta));
    };
    std::ranges::for_each(news.calls, add);
    p.text = std::move(news.content);
    if (p.finish_reason.empty()) return deltas;
    news = c.parser->finish();
    p.text += news.content;
    if (c.parser->calls() > 0 && p.finish_reason == "stop") p.finish_reason = "tool_calls";
    return deltas;
  }

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
    const Json calls = c.parser ? take_calls(p, c) : Json::array();
    if (answer_.streams()) return send_chunks(p, c, calls);
    c.text += p.text;
    c.finish_reason = p.finish_reason;
    if (!logprobs_) return;
    for (Json& entry : logprobs_of(p)) c.logprobs.push_back(std::move(entry));
  }

  void send_delta(size_t index, Json delta, Json logprobs, const std::string& finish_reason) {
    Json choice = {{"index", index},
                   {"delta", std::move(delta)},
                   {"logprobs", std::move(logprobs)},
                   {"finish_reason", nullptr}};
    if (!finish_reason.empty()) choice["finish_reason"] = finish_reason;
    answer_.send(std::move(choice));
  }

  void send_chunks(const Piece& p, Choice& c, const Json& calls) {
    if (!c.begun) send_delta(p.choice, {{"role", "assistant"}, {"content", ""}}, nullptr, {});
    c.begun = true;
    if (!p.text.empty() || (logprobs_ && !p.tokens.empty()))
      send_delta(p.choice, {{"content", p.text}},
                 logprobs_ ? Json{{"content", logprobs_of(p)}} : Json(), {});
    for (const Json& call : calls)
      send_delta(p.choice, {{"tool_calls", Json::array({call})}}, nullptr, {});
    if (!p.finish_reason.empty()) send_delta(p.choice, Json::object(), nullptr, p.finish_reason);
  }

  void end(const Usage& u, const std::string& error) {
    answer_.end(u, error, [&] { return choices_json(); });
  }

  Json choices_json() {
    Json all = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& c = choices_[i];
      Json choice = {
          {"index", i},
          {"message", {{"role", "assistant"}, {"content", c.text}, {"refusal", nullptr}}},
          {"logprobs", nullptr},
          {"finish_reason", c.finish_reason}};
      if (!c.calls.empty()) {
        choice["message"]["tool_calls"] = std::move(c.calls);
        if (c.text.empty()) choice["message"]["content"] = nullptr;
      }
      if (logprobs_) choice["logprobs"] = {{"content", std::move(c.logprobs)}};
      all.push_back(std::move(choice));
    }
    return all;
  }

  EngineRoom& room_;
  const TokenText& tokens_;
  const std::shared_ptr<Call> call_;
  const ToolFormat format_ = ToolFormat::of(room_.llm.chat_template_source());
  OpenAiAnswer answer_;
  bool logprobs_ = false;
  std::vector<Choice> choices_;
};

}  // namespace

void post_chat_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call) {
  std::make_shared<ChatCompletion>(room, tokens, std::move(call))->run();
}

}  // namespace tokamak::serve

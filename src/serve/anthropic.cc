// POST /v1/messages, as Anthropic's clients ask.
#include <nlohmann/json.hpp>

#include "serve/anthropic_messages.h"
#include "serve/generation.h"
#include "serve/guide_fields.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"
#include "serve/tool_fields.h"
#include "serve/tool_parser.h"

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
    refuse(f, {"thinking"});
    f.get("messages");
    const OrderedJson ordered = call_->ordered_body();
    const ToolUse tools = read_tools(openai_tools(ordered));
    GenerationRequest g;
    g.prompts = {chat_prompt(room_, openai_messages(ordered), &tools)};
    const Json sampling = to_sampling(f);
    g.params = read_sampling(Fields(sampling), room_);
    read_form(ordered, tools, g);
    read_model(f, room_, g);
    model_ = g.model;
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
  // output_config.format (output_format before): JSON of a schema; and tools.
  void read_form(const OrderedJson& body, const ToolUse& tools, GenerationRequest& g) {
    OrderedJson format;
    if (body.contains("output_config") && body["output_config"].is_object())
      format = body["output_config"].value("format", OrderedJson());
    if (format.is_null()) format = body.value("output_format", OrderedJson());
    if (!format.is_null()) {
      if (!format.is_object() || format.value("type", "") != "json_schema" ||
          !format.contains("schema"))
        throw ApiError(400,
                       "output_config.format: expected {\"type\": \"json_schema\", \"schema\": …}",
                       "output_config.format", "invalid_value");
      g.params.guide =
          make_guide({.kind = GuideSpec::Kind::json_schema, .text = format["schema"].dump()}, room_,
                     "output_config.format.schema");
    }
    if (tools.tools.empty()) return;
    const ToolFormat how = ToolFormat::of(room_.llm.chat_template_source());
    g.special_text = true;
    parser_.emplace(how, tools.forced());
    if (tools.forced()) g.params.guide = guide_of_calls(tools, how, room_);
  }

  Json message(Json content, Json stop_reason, int64_t input, int64_t output) const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", model_},
            {"content", std::move(content)},
            {"stop_reason", std::move(stop_reason)},
            {"stop_sequence", stop_string_.empty() ? Json() : Json(stop_string_)},
            {"usage", {{"input_tokens", input}, {"output_tokens", output}}}};
  }

  void event(const char* type, Json data) {
    if (!stream_) return;
    data["type"] = type;
    call_->event(data, type);
  }

  void begin(int64_t prompt_tokens) {
    call_->begin_events();
    event("message_start", {{"message", message(Json::array(), nullptr, prompt_tokens, 0)}});
  }

  // A block of the answer, text or a call, begins where another kind ends.
  void open_block(Json block) {
    close_block();
    event("content_block_start", {{"index", blocks_.size()}, {"content_block", block}});
    open_ = true;
    blocks_.push_back(std::move(block));
  }
  void close_block() {
    if (!open_) return;
    event("content_block_stop", {{"index", blocks_.size() - 1}});
    open_ = false;
  }
  void delta(Json d) {
    event("content_block_delta", {{"index", blocks_.size() - 1}, {"delta", std::move(d)}});
  }

  void take_text(const std::string& text) {
    if (text.empty()) return;
    if (blocks_.empty() || blocks_.back()["type"] != "text")
      open_block({{"type", "text"}, {"text", ""}});
    Json& all = blocks_.back()["text"];
    all = all.get<std::string>() + text;
    delta({{"type", "text_delta"}, {"text", text}});
  }

  void take_call(const ToolNews::Call& call) {
    if (!call.name.empty()) {
      open_block({{"type", "tool_use"},
                  {"id", random_id("toolu_")},
                  {"name", call.name},
                  {"input", Json::object()}});
      inputs_.emplace_back();
    }
    inputs_.back() += call.arguments;
    if (!call.arguments.empty())
      delta({{"type", "input_json_delta"}, {"partial_json", call.arguments}});
  }

  void take(Piece&& p) {
    if (!parser_) {
      take_text(p.text);
    } else {
      ToolNews news = parser_->push(p.text);
      take_text(news.content);
      for (const ToolNews::Call& call : news.calls) take_call(call);
      if (!p.finish_reason.empty()) take_text(parser_->finish().content);
    }
    if (p.finish_reason.empty()) return;
    stop_string_ = p.stop_string;
    stop_reason_ = !p.stop_string.empty()            ? "stop_sequence"
                   : p.finish_reason == "length"     ? "max_tokens"
                   : parser_ && parser_->calls() > 0 ? "tool_use"
                                                     : "end_turn";
  }

  // The blocks with their calls' arguments.
  Json content() const {
    Json out = Json::array();
    size_t calls = 0;
    for (Json block : blocks_) {
      if (block["type"] == "tool_use") {
        Json input = Json::parse(inputs_[calls++], nullptr, /*allow_exceptions=*/false);
        block["input"] = input.is_object() ? std::move(input) : Json::object();
      }
      out.push_back(std::move(block));
    }
    return out;
  }

  void end(const Usage& u, const std::string& error) {
    call_->note_usage(u.prompt_tokens, u.completion_tokens);
    if (!error.empty()) return call_->error(ApiError(500, error));
    if (blocks_.empty()) open_block({{"type", "text"}, {"text", ""}});
    if (!stream_)
      return call_->json(200,
                         message(content(), stop_reason_, u.prompt_tokens, u.completion_tokens));
    close_block();
    event("message_delta",
          {{"delta",
            {{"stop_reason", stop_reason_},
             {"stop_sequence", stop_string_.empty() ? Json() : Json(stop_string_)}}},
           {"usage", {{"output_tokens", u.completion_tokens}}}});
    event("message_stop", Json::object());
    call_->end_events();
  }

  EngineRoom& room_;
  std::string model_;
  const std::shared_ptr<Call> call_;
  const std::string id_ = random_id("msg_");
  bool stream_ = false;
  std::string stop_reason_, stop_string_;
  Json blocks_ = Json::array();
  std::vector<std::string> inputs_;  // of the calls among them
  bool open_ = false;                // the last block
  std::optional<ToolParser> parser_;
};

}  // namespace

void post_messages(EngineRoom& room, std::shared_ptr<Call> call) {
  std::make_shared<Message>(room, std::move(call))->run();
}

}  // namespace tokamak::serve

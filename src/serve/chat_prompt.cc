#include <nlohmann/json.hpp>

#include "serve/fields.h"
#include "serve/protocols.h"
#include "serve/tool_fields.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

// OpenAI's list of parts; only text ones are known.
std::string flatten(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (content.is_null()) return {};
  if (!content.is_array())
    throw ApiError(400,
                   fmt::format("{}: expected a string or an array of parts, found {}", where,
                               describe(content)),
                   where, "invalid_value");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields part(content[i], fmt::format("{}[{}]", where, i));
    if (part.get("type") != "text")
      part.wrong("type", "\"text\", the only kind of part that this model reads");
    const Json& t = part.get("text");
    if (!t.is_string()) part.wrong("text", "a string");
    text += t.get<std::string>();
  }
  return text;
}

// Earlier calls: arguments as JSON, which is what templates print.
OrderedJson read_calls(const OrderedJson& calls, const std::string& where) {
  const auto wrong = [&](const std::string& place, const char* expected) {
    throw ApiError(400, fmt::format("{}: expected {}", place, expected), place, "invalid_value");
  };
  if (!calls.is_array()) wrong(where, "an array of calls");
  OrderedJson out = OrderedJson::array();
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::string place = fmt::format("{}[{}].function", where, i);
    if (!calls[i].is_object() || !calls[i].contains("function")) wrong(place, "a function's call");
    const OrderedJson& f = calls[i]["function"];
    if (!f.is_object() || !f.contains("name") || !f["name"].is_string())
      wrong(place + ".name", "a name");
    OrderedJson call = calls[i];
    OrderedJson arguments = f.contains("arguments") ? f["arguments"] : OrderedJson::object();
    if (arguments.is_string()) {
      const auto text = arguments.get<std::string>();
      arguments = text.empty() ? OrderedJson::object() : OrderedJson::parse(text, nullptr, false);
    }
    if (!arguments.is_object()) wrong(place + ".arguments", "a JSON object as text");
    call["type"] = "function";
    call["function"]["arguments"] = std::move(arguments);
    out.push_back(std::move(call));
  }
  return out;
}

// The name of the function that a tool's message answers.
void add_name(OrderedJson& message, const OrderedJson& before) {
  if (message.contains("name") || !message.contains("tool_call_id")) return;
  for (const OrderedJson& m : before)
    if (m.contains("tool_calls"))
      for (const OrderedJson& c : m["tool_calls"])
        if (c.contains("id") && c["id"] == message["tool_call_id"])
          message["name"] = c["function"]["name"];
}

OrderedJson plain_messages(const OrderedJson& messages, const ToolFormat& format) {
  OrderedJson plain = OrderedJson::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    const Json unordered = messages[i];
    const Fields m(unordered, where);
    if (!m.get("role").is_string() || m.get("role") == "") m.wrong("role", "a name");
    OrderedJson copy = messages[i];
    const Json* content = m.find("content");
    copy["content"] = content ? flatten(*content, where + ".content") : "";
    if (m.find("tool_calls")) {
      copy["tool_calls"] = read_calls(messages[i]["tool_calls"], where + ".tool_calls");
      if (!format.in_template)  // the template would leave them out
        for (const OrderedJson& c : copy["tool_calls"])
          copy["content"] =
              copy["content"].get<std::string>() +
              format.example(c["function"]["name"], c["function"]["arguments"].dump());
    } else {
      copy.erase("tool_calls");
    }
    if (copy["role"] == "tool") add_name(copy, plain);
    plain.push_back(std::move(copy));
  }
  return plain;
}

// For templates that know no tools.
void explain_tools(OrderedJson& messages, const std::string& text) {
  if (!messages.empty() && messages[0]["role"] == "system")
    messages[0]["content"] = messages[0]["content"].get<std::string>() + "\n\n" + text;
  else
    messages.insert(messages.begin(), OrderedJson{{"role", "system"}, {"content", text}});
}

}  // namespace

std::vector<int32_t> chat_prompt(EngineRoom& room, const OrderedJson& messages,
                                 const ToolUse* tools) {
  const Tokenizer& tokenizer = room.need_tokenizer("messages");
  if (!room.llm.has_chat_template())
    throw ApiError(400,
                   fmt::format("messages: the model '{}' has no chat template: use /v1/completions",
                               room.model),
                   "messages", "invalid_value");
  if (!messages.is_array() || messages.empty())
    throw ApiError(
        400,
        "messages: expected an array of at least one message, found " + describe(Json(messages)),
        "messages", "invalid_value");
  const ToolFormat format = ToolFormat::of(room.llm.chat_template_source());
  OrderedJson plain = plain_messages(messages, format);
  const bool any = tools && !tools->tools.empty();
  if (any && !format.in_template) explain_tools(plain, format.instructions(tools->tools));
  try {
    std::string text = room.llm.apply_chat_template(
        plain.dump(), any && format.in_template ? tools_json(*tools).dump() : std::string());
    if (any && tools->forced()) text += format.begin();
    std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = false});
    if (ids.empty()) throw ApiError(400, "messages: they make an empty prompt", "messages");
    return ids;
  } catch (const ApiError&) {
    throw;
  } catch (const Error& e) {  // the template's own: "roles must alternate" …
    throw ApiError(400, std::string("messages: ") + e.what(), "messages", "invalid_value");
  }
}

}  // namespace tokamak::serve

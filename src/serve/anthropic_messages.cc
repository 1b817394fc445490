#include "serve/anthropic_messages.h"

#include <nlohmann/json.hpp>

#include "serve/fields.h"

namespace tokamak::serve {
namespace {

[[noreturn]] void wrong(const std::string& field, const OrderedJson& found, const char* expected) {
  throw ApiError(400,
                 fmt::format("{}: expected {}, found {}", field, expected, describe(Json(found))),
                 field, "invalid_value");
}

const OrderedJson& need(const OrderedJson& object, const char* name, const std::string& where) {
  if (!object.is_object()) wrong(where, object, "an object");
  const auto it = object.find(name);
  if (it == object.end() || it->is_null())
    throw ApiError(400, fmt::format("{}.{} is missing", where, name), where + "." + name,
                   "missing_required_parameter");
  return *it;
}

// A message of blocks may become several.
void add_blocks(const OrderedJson& message, const std::string& where, OrderedJson& out) {
  OrderedJson texts = OrderedJson::array(), calls = OrderedJson::array();
  const OrderedJson& blocks = message["content"];
  for (size_t i = 0; i < blocks.size(); ++i) {
    const std::string here = fmt::format("{}.content[{}]", where, i);
    const OrderedJson& b = blocks[i];
    const OrderedJson& type = need(b, "type", here);
    if (type == "tool_use") {
      calls.push_back(
          {{"id", need(b, "id", here)},
           {"type", "function"},
           {"function", {{"name", need(b, "name", here)}, {"arguments", need(b, "input", here)}}}});
    } else if (type == "tool_result") {
      const auto content = b.find("content");
      out.push_back({{"role", "tool"},
                     {"tool_call_id", need(b, "tool_use_id", here)},
                     {"content", content == b.end() ? OrderedJson("") : *content}});
    } else if (type != "thinking" && type != "redacted_thinking") {
      texts.push_back(b);
    }
  }
  if (texts.empty() && calls.empty() && !blocks.empty()) return;  // told otherwise
  OrderedJson m = {{"role", message["role"]}, {"content", std::move(texts)}};
  if (!calls.empty()) m["tool_calls"] = std::move(calls);
  out.push_back(std::move(m));
}

}  // namespace

OrderedJson openai_messages(const OrderedJson& body) {
  const OrderedJson& messages = body["messages"];
  if (!messages.is_array() || messages.empty())
    wrong("messages", messages, "an array of at least one message");
  OrderedJson out = OrderedJson::array();
  if (const auto system = body.find("system"); system != body.end() && !system->is_null())
    out.push_back({{"role", "system"}, {"content", *system}});
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    need(messages[i], "role", where);
    if (messages[i].contains("content") && messages[i]["content"].is_array())
      add_blocks(messages[i], where, out);
    else
      out.push_back(messages[i]);
  }
  return out;
}

OrderedJson openai_tools(const OrderedJson& body) {
  OrderedJson out = OrderedJson::object();
  const auto given = body.find("tools");
  if (given == body.end() || given->is_null()) return out;
  if (!given->is_array()) wrong("tools", *given, "an array of tools");
  out["tools"] = OrderedJson::array();
  for (size_t i = 0; i < given->size(); ++i) {
    const std::string where = fmt::format("tools[{}]", i);
    const OrderedJson& t = (*given)[i];
    if (t.is_object() && t.contains("type") && t["type"] != "custom")
      wrong(where + ".type", t["type"], "\"custom\": this server runs no tools itself");
    OrderedJson f = {{"name", need(t, "name", where)},
                     {"parameters", need(t, "input_schema", where)}};
    if (t.contains("description")) f["description"] = t["description"];
    out["tools"].push_back({{"type", "function"}, {"function", std::move(f)}});
  }
  const auto choice = body.find("tool_choice");
  if (choice == body.end() || choice->is_null()) return out;
  const OrderedJson& type = need(*choice, "type", "tool_choice");
  if (type == "any")
    out["tool_choice"] = "required";
  else if (type == "auto" || type == "none")
    out["tool_choice"] = type;
  else if (type == "tool")
    out["tool_choice"] = {{"type", "function"},
                          {"function", {{"name", need(*choice, "name", "tool_choice")}}}};
  else
    wrong("tool_choice.type", type, "auto, any, tool or none");
  if (choice->contains("disable_parallel_tool_use"))
    out["parallel_tool_calls"] = (*choice)["disable_parallel_tool_use"] != true;
  return out;
}

}  // namespace tokamak::serve

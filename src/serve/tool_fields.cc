#include "serve/tool_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "serve/call.h"
#include "serve/fields.h"
#include "serve/guide_fields.h"

namespace tokamak::serve {
namespace {

constexpr size_t kMostTools = 128;
constexpr int64_t kMostCalls = 8;  // of one answer that must call

[[noreturn]] void wrong(const std::string& field, const OrderedJson& found, const char* expected) {
  throw ApiError(400,
                 fmt::format("{}: expected {}, found {}", field, expected, describe(Json(found))),
                 field, "invalid_value");
}

const OrderedJson* find(const OrderedJson& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Tool read_tool(const OrderedJson& t, const std::string& where) {
  if (!t.is_object()) wrong(where, t, "an object");
  if (t.value("type", OrderedJson("function")) != "function")
    wrong(where + ".type", t["type"], "\"function\"");
  const OrderedJson* f = find(t, "function");
  if (!f || !f->is_object()) wrong(where + ".function", f ? *f : OrderedJson(), "an object");
  const OrderedJson* name = find(*f, "name");
  if (!name || !name->is_string() || name->get<std::string>().empty())
    wrong(where + ".function.name", name ? *name : OrderedJson(), "a name");
  Tool tool{.name = name->get<std::string>()};
  if (const OrderedJson* d = find(*f, "description"); d && d->is_string()) tool.description = *d;
  const OrderedJson* parameters = find(*f, "parameters");
  if (parameters && !parameters->is_object())
    wrong(where + ".function.parameters", *parameters, "a JSON schema");
  tool.parameters = parameters && !parameters->empty() ? parameters->dump()
                                                       : R"({"type":"object","properties":{}})";
  return tool;
}

void read_choice(const OrderedJson& body, ToolUse& use) {
  const OrderedJson* choice = find(body, "tool_choice");
  const std::string kind = !choice               ? "auto"
                           : choice->is_string() ? choice->get<std::string>()
                                                 : "named";
  const OrderedJson* parallel = find(body, "parallel_tool_calls");
  if (parallel && !parallel->is_boolean()) wrong("parallel_tool_calls", *parallel, "true or false");
  if (kind == "none") {
    use.tools.clear();
  } else if (kind == "required") {
    if (use.tools.empty()) wrong("tool_choice", *choice, "tools beside it");
    use.callable = use.tools;
    use.most_calls = parallel && *parallel == false ? 1 : kMostCalls;
  } else if (kind == "named") {
    const OrderedJson* f = choice->is_object() ? find(*choice, "function") : nullptr;
    const OrderedJson* name = f && f->is_object() ? find(*f, "name") : nullptr;
    if (!name || !name->is_string())
      wrong("tool_choice", *choice, "none, auto, required or a named function");
    for (const Tool& t : use.tools)
      if (t.name == name->get<std::string>()) use.callable = {t};
    if (use.callable.empty()) wrong("tool_choice.function.name", *name, "one of the tools' names");
  } else if (kind != "auto") {
    wrong("tool_choice", *choice, "none, auto, required or a named function");
  }
}

}  // namespace

ToolUse read_tools(const OrderedJson& body) {
  ToolUse use;
  if (const OrderedJson* tools = find(body, "tools")) {
    if (!tools->is_array() || tools->size() > kMostTools)
      wrong("tools", *tools, "an array of at most 128 tools");
    for (size_t i = 0; i < tools->size(); ++i)
      use.tools.push_back(read_tool((*tools)[i], fmt::format("tools[{}]", i)));
  }
  read_choice(body, use);
  return use;
}

OrderedJson tools_json(const ToolUse& use) {
  OrderedJson out = OrderedJson::array();
  for (const Tool& t : use.tools)
    out.push_back({{"type", "function"},
                   {"function",
                    {{"name", t.name},
                     {"description", t.description},
                     {"parameters", parse_ordered_json(t.parameters, "parameters")}}}});
  return out;
}

std::shared_ptr<const Guide> guide_of_calls(const ToolUse& use, const ToolFormat& format,
                                            const EngineRoom& room) {
  return make_guide(format.calls(use.callable, use.most_calls), room, "tools");
}

std::string call_id(const ToolFormat& format) {
  if (format.id_length == 0) return random_id("call_");
  return random_id("").substr(0, format.id_length);
}

}  // namespace tokamak::serve

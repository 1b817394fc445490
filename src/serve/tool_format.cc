#include "serve/tool_format.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace tokamak::serve {

ToolFormat ToolFormat::of(const std::string& source) {
  const auto has = [&](const char* text) { return source.find(text) != std::string::npos; };
  ToolFormat f;
  if (has("<tool_call>")) {
    f.open = "<tool_call>";
    f.close = "</tool_call>";
  } else if (has("[TOOL_CALLS]")) {
    f.open = "[TOOL_CALLS]";
    f.list = true;
    f.id_length = 9;
  } else if (has("<|tool_call|>")) {
    f.open = "<|tool_call|>";
    f.list = true;
  } else if (has("<|python_tag|>") || (has("tools") && has("\"parameters\""))) {
    f.open = "<|python_tag|>";
    f.bare = true;
    f.arguments = "parameters";
  } else {
    f.open = "<tool_call>";
    f.close = "</tool_call>";
    f.in_template = has("tools");
  }
  return f;
}

std::string ToolFormat::begin() const {
  if (bare) return {};
  return list ? open : open + "\n";
}

std::string ToolFormat::head(const std::string& name) const {
  return fmt::format("{{\"name\": {}, \"{}\": ", OrderedJson(name).dump(), arguments);
}

std::string ToolFormat::example(const std::string& name, const std::string& args) const {
  return fmt::format("{}\n{}{}}}\n{}", open, head(name), args, close);
}

GuideSpec ToolFormat::calls(const std::vector<Tool>& tools, int64_t most) const {
  GuideSpec spec{.kind = GuideSpec::Kind::calls};
  spec.max_calls = most;
  const bool tagged = !list && !bare;
  for (const Tool& t : tools)
    spec.calls.push_back({head(t.name), t.parameters, tagged ? "}\n" + close : "}"});
  if (list) {
    spec.begin = "[";
    spec.end = "]";
  }
  spec.separator = list ? ", " : bare ? "; " : "\n" + begin();
  return spec;
}

std::string ToolFormat::instructions(const std::vector<Tool>& tools) const {
  std::string text = "You may call functions. They are, one JSON object a line:\n";
  for (const Tool& t : tools)
    text += OrderedJson{{"name", t.name},
                        {"description", t.description},
                        {"parameters", parse_ordered_json(t.parameters, "parameters")}}
                .dump() +
            "\n";
  return text + "To call one, answer with\n" +
         example("the function's name", "{ … the arguments … }") +
         "\nand nothing else. Several calls follow one another.";
}

}  // namespace tokamak::serve

// What a request says about tools: OpenAI's tools, tool_choice and parallel_tool_calls.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "serve/engine_room.h"
#include "serve/tool_format.h"

namespace tokamak::serve {

struct ToolUse {
  std::vector<Tool> tools;     // that the model is shown; none: calls are not looked for
  std::vector<Tool> callable;  // of those, when one of them must be called
  int64_t most_calls = 1;      // then
  bool forced() const { return !callable.empty(); }
};

// body: keys as written. ApiError 400.
ToolUse read_tools(const OrderedJson& body);
// The tools as templates take them: OpenAI's array.
OrderedJson tools_json(const ToolUse& use);
// The guide of a forced call, which follows format.begin().
std::shared_ptr<const Guide> guide_of_calls(const ToolUse& use, const ToolFormat& format,
                                            const EngineRoom& room);
std::string call_id(const ToolFormat& format);

}  // namespace tokamak::serve

// Anthropic's requests in OpenAI's words.
#pragma once
#include "base/json.h"

namespace tokamak::serve {

// Messages with the system text in front; blocks of tool_use become tool_calls, tool_result
// messages of the role tool. ApiError 400.
OrderedJson openai_messages(const OrderedJson& body);
// {"tools", "tool_choice", "parallel_tool_calls"} as there are.
OrderedJson openai_tools(const OrderedJson& body);

}  // namespace tokamak::serve

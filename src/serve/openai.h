// OpenAI's endpoints of generation.
#pragma once
#include <memory>

#include "serve/call.h"
#include "serve/engine_room.h"
#include "serve/token_text.h"

namespace tokamak::serve {

// Each answers the call, now or later; ApiError when the request is wrong.
void post_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call);
void post_chat_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call);

// Messages in the form that templates expect (contents are strings), rendered and encoded.
std::vector<int32_t> chat_prompt(EngineRoom& room, const Json& messages);

Json usage_json(int64_t prompt_tokens, int64_t completion_tokens);
// stream and stream_options of a body.
struct StreamFields {
  bool stream = false, include_usage = false;
};
class Fields;
StreamFields read_stream(const Fields& fields);

}  // namespace tokamak::serve

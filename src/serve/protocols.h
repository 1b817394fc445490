// The protocols of generation: OpenAI's, Anthropic's, KServe's; and the web page.
#pragma once
#include <memory>
#include <string_view>

#include "serve/call.h"
#include "serve/engine_room.h"
#include "serve/token_text.h"

namespace tokamak::serve {

// Each answers the call, now or later; ApiError when the request is wrong.
void post_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call);
void post_chat_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call);
void post_embeddings(EngineRoom& room, std::shared_ptr<Call> call);
// Anthropic's messages.
void post_messages(EngineRoom& room, std::shared_ptr<Call> call);
// KServe v2 as Triton serves it: health, metadata, generate, generate_stream; path: below /v2.
void handle_kserve(EngineRoom& room, std::shared_ptr<Call> call);
// The web page at /.
std::string_view page_html();

// Messages (keys as written) in the form that templates expect, with the tools that the model may
// call, rendered and encoded; the answer goes on behind the beginning of a call when it must be
// one.
struct ToolUse;
std::vector<int32_t> chat_prompt(EngineRoom& room, const OrderedJson& messages,
                                 const ToolUse* tools = nullptr);

}  // namespace tokamak::serve

// What a request says about the form of its output: OpenAI's response_format, and vLLM's guided_*
// and structured_outputs.
#pragma once
#include "serve/call.h"
#include "serve/engine_room.h"
#include "serve/fields.h"

namespace tokamak::serve {

// None when the request asks for nothing of the kind. ApiError 400 names the field and, for
// schemas, the keyword and its place.
std::shared_ptr<const Guide> read_guide(const Fields& fields, const Call& call,
                                        const EngineRoom& room);
// Compiles it; ApiError 400 that names `field`.
std::shared_ptr<const Guide> make_guide(const GuideSpec& spec, const EngineRoom& room,
                                        const std::string& field);

}  // namespace tokamak::serve

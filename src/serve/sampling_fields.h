// Sampling parameters of a request's body, under the names of OpenAI, and of vLLM beyond those.
#pragma once
#include "serve/engine_room.h"
#include "serve/fields.h"
#include "serve/generation.h"

namespace tokamak::serve {

// Fields that are absent keep the model's defaults. `max_tokens` is left to the caller.
SamplingParams read_sampling(const Fields& fields, const EngineRoom& room);

// max_tokens (the first of `names` that is there), or `otherwise`; checked against what the
// prompts leave of the model's length. 0: nothing may follow.
int64_t read_max_tokens(const Fields& fields, std::initializer_list<const char*> names,
                        int64_t otherwise, size_t longest_prompt, const EngineRoom& room);

// 404 when the request asks for a model that is not here.
void check_model(const Fields& fields, const EngineRoom& room);
// The same, and which one it is: the base model or an adapter.
void read_model(const Fields& fields, const EngineRoom& room, GenerationRequest& request);
// 400 for a field that asks for what this server does not do.
void refuse(const Fields& fields, std::initializer_list<const char*> names);
// Sampling (with n, best_of and beam search), cache_salt and priority into `request`.
void read_shared(const Fields& fields, const EngineRoom& room, GenerationRequest& request);

}  // namespace tokamak::serve

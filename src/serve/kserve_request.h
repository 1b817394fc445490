// Requests of KServe v2 and of Triton's generate extension.
#pragma once
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json.h"

#include "serve/engine_room.h"
#include "serve/generation.h"

namespace tokamak::serve {

struct InferTensor {
  std::string name, datatype;
  std::vector<int64_t> shape;
  Json data;  // flat array: strings, numbers, booleans
};

// A call of the model by tensors: text_input has the prompts, every other input holds for all.
struct InferRequest {
  GenerationRequest generation;
  std::vector<int64_t> shape;  // of text_input, and of text_output
  static InferRequest from(EngineRoom& room, const std::vector<InferTensor>& inputs);
};

// Fields of the generate extension, whose text_input is `prompts`.
GenerationRequest read_generate(EngineRoom& room, const Json& body,
                                const std::vector<std::string>& prompts);
Json kserve_metadata(const EngineRoom& room);

}  // namespace tokamak::serve

// Requests of KServe v2 and of Triton's generate extension, in the words of Triton's TensorRT-LLM
// backend.
#pragma once
#include <optional>
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

struct KServeRequest {
  GenerationRequest generation;
  std::optional<bool> stream;      // what the request says; never true of what is told at the end
  std::vector<std::string> begin;  // in front of each prompt's outputs; empty: nothing
  bool logprobs = false;
};

// The fields of `body`, those of "parameters" too. `model`: the base model or an adapter; ApiError.
KServeRequest read_generate(EngineRoom& room, const std::string& model, const Json& body,
                            const std::vector<std::string>& prompts);
// A call by tensors: text_input has the prompts, every other input holds for all.
KServeRequest read_infer(EngineRoom& room, const std::string& model,
                         const std::vector<InferTensor>& inputs);
Json kserve_metadata(const std::string& model);

}  // namespace tokamak::serve

#include "serve/openapi.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "serve/engine_room.h"
#include "serve/openapi_text.h"
#include "text/tokenizer.h"
#include "tokamak/version.h"

namespace tokamak::serve {
namespace {

Json error_answer(const char* schema, const char* what) {
  return {{"description", what},
          {"content",
           {{"application/json",
             {{"schema", {{"$ref", std::string("#/components/schemas/") + schema}}}}}}}};
}

// What every endpoint may answer. `schema`: of its errors.
void add_errors(Json& operation, bool has_body, const char* schema) {
  Json& r = operation["responses"];
  const auto add = [&](const char* status, const char* what) {
    if (!r.contains(status)) r[status] = error_answer(schema, what);
  };
  if (!operation.contains("security")) add("401", "No valid API key");
  if (operation.contains("parameters") || has_body) add("404", "Unknown model");
  add("400", "A field is wrong, or this is no HTTP request");
  if (!has_body) return;
  add("413", "The body is too large");
  add("429", "The queue is full; Retry-After says when to come again");
  add("500", "The model failed");
  add("503", "The server is shutting down");
}

// In requests null counts as absent.
void allow_null(Json& schema) {
  if (schema.contains("anyOf"))
    for (Json& choice : schema["anyOf"]) allow_null(choice);
  if (!schema.contains("properties")) return;
  const Json required = schema.value("required", Json::array());
  for (auto& [name, property] : schema["properties"].items()) {
    if (std::ranges::find(required, Json(name)) != required.end()) continue;
    Json inner = std::move(property);
    property = {{"anyOf", {inner, {{"type", "null"}}}}};
    if (inner.contains("description")) property["description"] = inner["description"];
  }
}

void include_sampling(Json& schemas, const char* name) {
  for (const auto& [field, schema] : schemas["Sampling"]["properties"].items())
    if (!schemas[name]["properties"].contains(field)) schemas[name]["properties"][field] = schema;
}

// Keys that are token ids: of fewer digits than the largest, which a pattern can say.
std::string id_pattern(int64_t vocab_size) {
  const size_t digits = std::to_string(vocab_size - 1).size();
  return fmt::format("^[0-9]{{1,{}}}$", std::max<size_t>(digits, 2) - 1);
}

void set_limits(Json& schemas, const EngineRoom& room) {
  schemas["ModelName"]["enum"] = Json::array({room.model});
  for (const LoraModels::Model& m : room.loras.list())
    schemas["ModelName"]["enum"].push_back(m.name);
  schemas["TokenId"]["maximum"] = room.vocab_size - 1;
  if (room.tokenizer)
    schemas["TextTokenId"]["maximum"] =
        std::min<int64_t>(room.vocab_size, room.tokenizer->vocab_size()) - 1;
  schemas["Sampling"]["properties"]["logit_bias"]["propertyNames"]["pattern"] =
      id_pattern(room.vocab_size);
  for (const char* name : {"MaxTokens", "MaxTokensOrNone"})
    schemas[name]["maximum"] = room.max_model_len - 1;
  // Whether the model has a token to begin an empty prompt with.
  const bool begins = room.tokenizer && !room.tokenizer->encode("").empty();
  schemas["PromptText"]["minLength"] = begins ? 0 : 1;
}

}  // namespace

Json openapi_document(const EngineRoom& room) {
  Json doc = Json::parse(openapi_text());
  doc["info"]["version"] = kVersion;
  Json& schemas = doc["components"]["schemas"];
  set_limits(schemas, room);
  for (const char* name : {"CompletionRequest", "ChatCompletionRequest"})
    include_sampling(schemas, name);
  schemas.erase("Sampling");
  for (auto& [name, schema] : schemas.items())
    if (name.ends_with("Request")) allow_null(schema);
  for (auto& [path, item] : doc["paths"].items()) {
    Json parameters = Json::array();
    if (path.find("{model}") != std::string::npos)
      parameters.push_back({{"name", "model"},
                            {"in", "path"},
                            {"required", true},
                            {"schema", {{"$ref", "#/components/schemas/ModelName"}}}});
    for (auto& [method, operation] : item.items()) {
      if (!parameters.empty()) operation["parameters"] = parameters;
      add_errors(operation, operation.contains("requestBody"),
                 path == "/v1/messages" ? "AnthropicError" : "Error");
    }
  }
  return doc;
}

}  // namespace tokamak::serve

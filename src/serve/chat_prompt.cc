#include <nlohmann/json.hpp>

#include "serve/fields.h"
#include "serve/protocols.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

// OpenAI's list of parts; only text ones are known.
std::string flatten(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (content.is_null()) return {};
  if (!content.is_array())
    throw ApiError(400,
                   fmt::format("{}: expected a string or an array of parts, found {}", where,
                               describe(content)),
                   where, "invalid_value");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const Fields part(content[i], fmt::format("{}[{}]", where, i));
    if (part.string("type").value_or("text") != "text")
      part.wrong("type", "\"text\", the only kind of part that this model reads");
    const Json& t = part.get("text");
    if (!t.is_string()) part.wrong("text", "a string");
    text += t.get<std::string>();
  }
  return text;
}

}  // namespace

std::vector<int32_t> chat_prompt(EngineRoom& room, const Json& messages) {
  const Tokenizer& tokenizer = room.need_tokenizer("messages");
  if (!room.llm.has_chat_template())
    throw ApiError(400,
                   fmt::format("messages: the model '{}' has no chat template: use /v1/completions",
                               room.model),
                   "messages", "invalid_value");
  if (!messages.is_array() || messages.empty())
    throw ApiError(
        400, "messages: expected an array of at least one message, found " + describe(messages),
        "messages", "invalid_value");
  Json plain = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = fmt::format("messages[{}]", i);
    const Fields m(messages[i], where);
    if (!m.get("role").is_string()) m.wrong("role", "a string");
    Json copy = messages[i];
    const Json* content = m.find("content");
    copy["content"] = content ? flatten(*content, where + ".content") : "";
    plain.push_back(std::move(copy));
  }
  try {
    const std::string text = room.llm.apply_chat_template(plain.dump());
    std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = false});
    if (ids.empty()) throw ApiError(400, "messages: they make an empty prompt", "messages");
    return ids;
  } catch (const ApiError&) {
    throw;
  } catch (const Error& e) {  // the template's own: "roles must alternate" …
    throw ApiError(400, std::string("messages: ") + e.what(), "messages", "invalid_value");
  }
}

}  // namespace tokamak::serve

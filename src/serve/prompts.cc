#include "serve/prompts.h"

#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

constexpr size_t kMaxPrompts = 1024;

std::vector<int32_t> encode(const std::string& text, const char* name, const EngineRoom& room) {
  std::vector<int32_t> ids = room.need_tokenizer(name).encode(text);
  if (ids.empty())
    throw ApiError(400,
                   fmt::format("{}: it is empty, and the model has no token to begin with", name),
                   name, "invalid_value");
  return ids;
}

}  // namespace

// A string, an array of strings, an array of token ids, or an array of those.
std::vector<std::vector<int32_t>> read_prompts(const Fields& fields, const char* name,
                                               const EngineRoom& room) {
  const Json& p = fields.get(name);
  const char* expected = "a string, token ids, or an array of either, none of them empty";
  if (p.is_string()) return {encode(p.get<std::string>(), name, room)};
  if (!p.is_array() || p.empty()) fields.wrong(name, expected);
  if (p[0].is_number()) return {to_ids(p, room.vocab_size, name)};
  if (p.size() > kMaxPrompts) fields.wrong(name, fmt::format("at most {} prompts", kMaxPrompts));
  std::vector<std::vector<int32_t>> prompts;
  for (const Json& item : p) {
    if (item.is_string())
      prompts.push_back(encode(item.get<std::string>(), name, room));
    else if (item.is_array() && !item.empty())
      prompts.push_back(to_ids(item, room.vocab_size, name));
    else
      fields.wrong(name, item, expected);
  }
  return prompts;
}

}  // namespace tokamak::serve

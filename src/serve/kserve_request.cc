#include "serve/kserve_request.h"

#include "serve/kserve_tensors.h"
#include "serve/sampling_fields.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

constexpr size_t kMaxPrompts = 1024;

[[noreturn]] void wrong(const std::string& name, const std::string& what) {
  throw ApiError(400, fmt::format("{}: {}", name, what), name, "invalid_value");
}

// The generate extension's names, and ours.
constexpr std::pair<const char*, const char*> kNames[] = {
    {"temperature", "temperature"},
    {"top_k", "top_k"},
    {"top_p", "top_p"},
    {"min_p", "min_p"},
    {"repetition_penalty", "repetition_penalty"},
    {"presence_penalty", "presence_penalty"},
    {"frequency_penalty", "frequency_penalty"},
    {"random_seed", "seed"},
    {"seed", "seed"},
    {"stop_words", "stop"},
    {"stop", "stop"},
    {"bad_words", "bad_words"},
    {"min_length", "min_tokens"},
    {"max_tokens", "max_tokens"},
    {"ignore_eos", "ignore_eos"}};

// Fields of the request, those of "parameters" too, under our names.
Json to_sampling(const Json& body) {
  Json out = Json::object();
  const auto take = [&](const Json& from) {
    for (const auto& [theirs, ours] : kNames)
      if (const auto it = from.find(theirs); it != from.end()) out[ours] = *it;
  };
  if (const auto it = body.find("parameters"); it != body.end() && it->is_object()) take(*it);
  take(body);
  for (const char* list : {"stop", "bad_words"})  // Triton's clients send "" for none
    if (out.contains(list) && (out[list] == "" || out[list] == Json::array({""}))) out.erase(list);
  return out;
}

bool is_list(const std::string& name) { return name == "stop_words" || name == "bad_words"; }

}  // namespace

GenerationRequest read_generate(EngineRoom& room, const Json& body,
                                const std::vector<std::string>& prompts) {
  const Fields f(body);
  if (f.integer("beam_width", 1, 64).value_or(1) != 1)
    f.wrong("beam_width", "1: beam search is not supported");
  GenerationRequest g;
  size_t longest = 0;
  for (const std::string& prompt : prompts) {
    g.prompts.push_back(room.need_tokenizer("text_input").encode(prompt));
    if (g.prompts.back().empty()) wrong("text_input", "expected a text that is not empty");
    longest = std::max(longest, g.prompts.back().size());
  }
  const Json sampling = to_sampling(body);
  const Fields s(sampling);
  g.params = read_sampling(s, room);
  g.params.max_tokens = read_max_tokens(s, {"max_tokens"}, 16, longest, room);
  if (g.params.max_tokens == 0) s.wrong("max_tokens", "at least 1");
  return g;
}

InferRequest InferRequest::from(EngineRoom& room, const std::vector<InferTensor>& inputs) {
  InferRequest r;
  Json fields = Json::object();
  std::vector<std::string> prompts;
  for (const InferTensor& t : inputs) {
    const int64_t count = element_count(t.name, t.shape);
    if (!t.data.is_array() || static_cast<int64_t>(t.data.size()) != count)
      wrong(t.name,
            fmt::format("its shape stands for {} elements, found {}", count, t.data.size()));
    for (const Json& v : t.data)
      if (!is_element(t.name, t.datatype, v))
        wrong(t.name, fmt::format("expected elements of {}, found {}", t.datatype, describe(v)));
    if (t.name == "text_input") {
      if (t.datatype != "BYTES") wrong(t.name, "expected BYTES, found " + t.datatype);
      for (const Json& text : t.data) prompts.push_back(text.get<std::string>());
      r.shape = t.shape;
    } else if (is_list(t.name)) {
      fields[t.name] = t.data;
    } else if (count > 0) {
      for (const Json& v : t.data)
        if (v != t.data[0]) wrong(t.name, "expected the same value for every prompt of a request");
      fields[t.name] = t.data[0];
    }
  }
  if (prompts.empty() || prompts.size() > kMaxPrompts)
    wrong("text_input",
          fmt::format("expected 1 to {} prompts, found {}", kMaxPrompts, prompts.size()));
  r.generation = read_generate(room, fields, prompts);
  return r;
}

Json kserve_metadata(const EngineRoom& room) {
  const auto tensor = [](const char* name, const char* type) {
    return Json{{"name", name}, {"datatype", type}, {"shape", {-1, 1}}};
  };
  return {
      {"name", room.model},
      {"versions", {"1"}},
      {"platform", "tokamak"},
      {"inputs",
       {tensor("text_input", "BYTES"), tensor("max_tokens", "INT32"), tensor("temperature", "FP32"),
        tensor("top_k", "INT32"), tensor("top_p", "FP32"), tensor("repetition_penalty", "FP32"),
        tensor("presence_penalty", "FP32"), tensor("frequency_penalty", "FP32"),
        tensor("random_seed", "UINT64"), tensor("min_length", "INT32"),
        tensor("stop_words", "BYTES"), tensor("bad_words", "BYTES")}},
      {"outputs", {tensor("text_output", "BYTES")}}};
}

}  // namespace tokamak::serve

#include "serve/kserve_request.h"

#include <algorithm>
#include <utility>

#include "serve/guide_fields.h"
#include "serve/kserve_tensors.h"
#include "serve/sampling_fields.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

constexpr size_t kMaxPrompts = 1024, kMaxWords = 64;

[[noreturn]] void wrong(const std::string& name, const std::string& what) {
  throw ApiError(400, fmt::format("{}: {}", name, what), name, "invalid_value");
}

// The backend's inputs, and the field of read_sampling() that one is (none: see below).
struct Input {
  const char *name, *datatype, *field;
  bool list = false;
};
constexpr Input kInputs[] = {{"text_input", "BYTES", nullptr},
                             {"max_tokens", "INT32", "max_tokens"},
                             {"min_length", "INT32", "min_tokens"},
                             {"min_tokens", "INT32", "min_tokens"},
                             {"stream", "BOOL", nullptr},
                             {"exclude_input_in_output", "BOOL", nullptr},
                             {"temperature", "FP32", "temperature"},
                             {"top_k", "INT32", "top_k"},
                             {"top_p", "FP32", "top_p"},
                             {"min_p", "FP32", "min_p"},
                             {"repetition_penalty", "FP32", "repetition_penalty"},
                             {"presence_penalty", "FP32", "presence_penalty"},
                             {"frequency_penalty", "FP32", "frequency_penalty"},
                             {"no_repeat_ngram_size", "INT32", "no_repeat_ngram_size"},
                             {"random_seed", "UINT64", "seed"},
                             {"seed", "UINT64", "seed"},
                             {"beam_width", "INT32", nullptr},
                             {"num_return_sequences", "INT32", nullptr},
                             {"length_penalty", "FP32", "length_penalty"},
                             {"early_stopping", "BOOL", "early_stopping"},
                             {"return_log_probs", "BOOL", nullptr},
                             {"end_id", "INT32", nullptr},
                             {"pad_id", "INT32", nullptr},
                             {"ignore_eos", "BOOL", "ignore_eos"},
                             {"stop_words", "BYTES", "stop", true},
                             {"stop", "BYTES", "stop", true},
                             {"bad_words", "BYTES", "bad_words", true},
                             {"embedding_bias_words", "BYTES", nullptr, true},
                             {"embedding_bias_weights", "FP32", nullptr, true},
                             {"lora_task_id", "UINT64", nullptr},
                             {"lora_name", "BYTES", nullptr},
                             {"guided_decoding_guide_type", "BYTES", nullptr},
                             {"guided_decoding_guide", "BYTES", nullptr}};

const Input& input_of(const InferTensor& t) {
  std::string known;
  for (const Input& i : kInputs) {
    if (t.name == i.name) return i;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", i.name);
  }
  wrong(t.name, "no such input is known; known are " + known);
}

// What is there of the fields above, at the top or in "parameters"; what this server does not do.
Json merged(const Json& body) {
  Json all = Json::object();
  const auto take = [&](const Json& from) {
    for (const auto& [name, value] : from.items())
      if (!value.is_null()) all[name] = value;
  };
  if (const auto it = body.find("parameters"); it != body.end() && it->is_object()) take(*it);
  take(body);
  refuse(Fields(all), {"decoder_text_input", "image_input", "prompt_embedding_table",
                       "lora_weights", "lora_config", "return_context_logits",
                       "return_generation_logits", "beam_search_diversity_rate"});
  return all;
}

// Without top_k and top_p the backend takes the likeliest token; a top_p of 0 is none.
void choose_as_the_backend(Json& s) {
  if (s.contains("top_p") && s["top_p"] == 0) {
    s.erase("top_p");
    if (!s.contains("top_k") || s["top_k"] == 0) s["top_k"] = 1;
  }
  const bool any = s.contains("temperature") || s.contains("top_k") || s.contains("top_p") ||
                   s.contains("min_p");
  if (!any) s["temperature"] = 0;
}

// beam_width beams, or num_return_sequences samples; of the beams so many are given, or all.
void read_width(const Fields& f, Json& s) {
  const int64_t beams = f.integer("beam_width", 1, 128).value_or(1);
  const int64_t outputs = f.integer("num_return_sequences", 1, 128).value_or(beams);
  s["n"] = outputs;
  if (beams == 1) return;
  if (outputs > beams)
    f.wrong("num_return_sequences", fmt::format("at most beam_width ({})", beams));
  s["use_beam_search"] = true;
  s["best_of"] = beams;
  if (!s.contains("length_penalty")) s["length_penalty"] = 0;
  if (!s.contains("early_stopping")) s["early_stopping"] = true;
}

// A word's tokens all get its weight.
void read_bias(const Fields& f, const EngineRoom& room, Json& s) {
  const std::vector<std::string> words = f.strings("embedding_bias_words");
  const Json* given = f.find("embedding_bias_weights");
  const Json weights = !given ? Json::array() : given->is_array() ? *given : Json::array({*given});
  if (words.size() != weights.size())
    wrong("embedding_bias_weights", fmt::format("expected as many as embedding_bias_words ({}), "
                                                "found {}",
                                                words.size(), weights.size()));
  for (size_t i = 0; i < words.size(); ++i) {
    if (!weights[i].is_number()) f.wrong("embedding_bias_weights", weights[i], "numbers");
    const Tokenizer& t = room.need_tokenizer("embedding_bias_words");
    for (const int32_t id : t.encode(words[i], {.add_special = false}))
      s["logit_bias"][std::to_string(id)] = weights[i];
  }
}

Json to_sampling(const Json& body, const EngineRoom& room) {
  const Fields f(body);
  Json out = Json::object();
  for (const Input& i : kInputs)
    if (const Json* v = f.find(i.name); v && i.field) out[i.field] = *v;
  for (const char* list : {"stop", "bad_words"}) {  // clients send "" for none
    if (!out.contains(list)) continue;
    std::vector<std::string> words = Fields(out).strings(list);
    if (words.size() > kMaxWords) wrong(list, fmt::format("at most {} strings", kMaxWords));
    std::erase(words, "");
    out[list] = std::move(words);
  }
  if (out.contains("seed") && out["seed"].is_number_unsigned())
    out["seed"] = static_cast<int64_t>(out["seed"].get<uint64_t>());  // all 64 bits count
  if (const auto end = f.integer("end_id")) {
    if (*end < 0)
      out["ignore_eos"] = true;
    else
      out["stop_token_ids"] = {*end};
  }
  choose_as_the_backend(out);
  read_width(f, out);
  read_bias(f, room, out);
  return out;
}

// The adapter that the path, or lora_name, names; a task's number is its name too.
void read_adapter(const Fields& f, const EngineRoom& room, const std::string& model,
                  GenerationRequest& g) {
  g.model = model;
  if (const auto task = f.integer("lora_task_id"); task && *task != 0)
    g.model = std::to_string(*task);
  if (const auto name = f.string("lora_name"); name && !name->empty()) g.model = *name;
  g.lora = room.loras.find(g.model);
}

std::shared_ptr<const Guide> read_guided(const Fields& f, const EngineRoom& room) {
  const std::string type = f.string("guided_decoding_guide_type").value_or("");
  if (type.empty()) return nullptr;
  const char* field = "guided_decoding_guide";
  const std::string text = f.string(field).value_or("");
  using Kind = GuideSpec::Kind;
  constexpr std::pair<const char*, Kind> kTypes[] = {{"json", Kind::json_object},
                                                     {"json_schema", Kind::json_schema},
                                                     {"regex", Kind::regex},
                                                     {"ebnf_grammar", Kind::grammar},
                                                     {"structural_tag", Kind::structural_tag}};
  for (const auto& [name, kind] : kTypes)
    if (type == name)
      return make_guide({.kind = kind, .text = kind == Kind::json_object ? "" : text}, room, field);
  f.wrong("guided_decoding_guide_type", "json, json_schema, regex, ebnf_grammar or structural_tag");
}

}  // namespace

KServeRequest read_generate(EngineRoom& room, const std::string& model, const Json& body,
                            const std::vector<std::string>& prompts) {
  const Json all = merged(body);
  const Fields f(all);
  KServeRequest r;
  GenerationRequest& g = r.generation;
  read_adapter(f, room, model, g);
  size_t longest = 0;
  for (const std::string& prompt : prompts) {
    g.prompts.push_back(room.need_tokenizer("text_input").encode(prompt));
    if (g.prompts.back().empty()) wrong("text_input", "expected a text that is not empty");
    longest = std::max(longest, g.prompts.back().size());
  }
  const Json sampling = to_sampling(all, room);
  const Fields s(sampling);
  g.params = read_sampling(s, room);
  g.n = g.params.n;
  g.params.max_tokens = read_max_tokens(s, {"max_tokens"}, 16, longest, room);
  if (g.params.max_tokens == 0) s.wrong("max_tokens", "at least 1");
  g.params.guide = read_guided(f, room);
  r.logprobs = f.flag("return_log_probs");
  r.stream = f.boolean("stream");
  if (g.params.width() > g.n || g.params.beam_width > 1) r.stream = false;
  if (!f.boolean("exclude_input_in_output").value_or(true)) r.begin = prompts;
  return r;
}

KServeRequest read_infer(EngineRoom& room, const std::string& model,
                         const std::vector<InferTensor>& inputs) {
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
    } else if (input_of(t).list) {
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
  return read_generate(room, model, fields, prompts);
}

Json kserve_metadata(const std::string& model) {
  const auto tensor = [](const char* name, const char* type) {
    return Json{{"name", name}, {"datatype", type}, {"shape", {-1, 1}}};
  };
  Json inputs = Json::array();
  for (const Input& i : kInputs) inputs.push_back(tensor(i.name, i.datatype));
  Json outputs = Json::array();
  outputs.push_back({{"name", "text_output"}, {"datatype", "BYTES"}, {"shape", {-1}}});
  outputs.push_back({{"name", "cum_log_probs"}, {"datatype", "FP32"}, {"shape", {-1}}});
  outputs.push_back({{"name", "output_log_probs"}, {"datatype", "FP32"}, {"shape", {-1, -1}}});
  return {{"name", model},
          {"versions", {"1"}},
          {"platform", "tokamak"},
          {"inputs", inputs},
          {"outputs", outputs}};
}

}  // namespace tokamak::serve

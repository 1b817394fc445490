#include "serve/sampling_fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

constexpr size_t kMaxStops = 64, kMaxStop = 1000;  // characters
constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();
constexpr double kColdest = 1e-4;  // below, logits over the temperature overflow: greedy

void read_logit_bias(const Fields& fields, const EngineRoom& room, SamplingParams& p) {
  const Json* bias = fields.find("logit_bias");
  if (!bias) return;
  if (!bias->is_object()) fields.wrong("logit_bias", "an object of token ids and biases");
  for (const auto& [key, value] : bias->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= room.vocab_size)
      fields.wrong("logit_bias", Json(key),
                   fmt::format("token ids from 0 to {} as keys", room.vocab_size - 1));
    if (!value.is_number() || std::abs(value.get<double>()) > 100)
      fields.wrong("logit_bias", value, "numbers from -100 to 100 as values");
    // OpenAI: -100 is a ban.
    const double b = value.get<double>();
    p.logit_bias[id] = b == -100 ? -std::numeric_limits<double>::infinity() : b;
  }
}

size_t characters(std::string_view utf8) {
  return static_cast<size_t>(
      std::ranges::count_if(utf8, [](char c) { return (c & 0xC0) != 0x80; }));
}

void read_stops(const Fields& fields, const EngineRoom& room, SamplingParams& p) {
  p.stop = fields.strings("stop");
  if (p.stop.size() > kMaxStops) fields.wrong("stop", fmt::format("at most {} strings", kMaxStops));
  for (const std::string& s : p.stop)
    if (s.empty() || characters(s) > kMaxStop)
      fields.wrong("stop", fmt::format("strings of 1 to {} characters", kMaxStop));
  if (!p.stop.empty()) room.need_tokenizer("stop");
  for (const int32_t id : fields.ids("stop_token_ids", room.vocab_size))
    p.stop_token_ids.push_back(id);
  for (const std::string& word : fields.strings("bad_words")) {
    p.bad_words.push_back(room.need_tokenizer("bad_words").encode(word, {.add_special = false}));
    if (p.bad_words.back().empty()) fields.wrong("bad_words", "strings that are not empty");
  }
}

// SamplingParams names the field in front of its message: "top_p is 7: it must be …".
void validate(const SamplingParams& p) {
  try {
    p.validate();
  } catch (const Error& e) {
    const std::string message = e.what();
    throw ApiError(400, message, message.substr(0, message.find(' ')), "invalid_value");
  }
}

int read_early_stopping(const Fields& fields) {
  const Json* v = fields.find("early_stopping");
  if (!v) return 0;
  if (v->is_boolean()) return v->get<bool>() ? 1 : 0;
  if (*v == "never") return 2;
  fields.wrong("early_stopping", "true, false or \"never\"");
}

// n, best_of, and beam search under vLLM's names: of best_of beams the n best are given. What the
// request does not say is as vLLM has it.
void read_outputs(const Fields& fields, SamplingParams& p) {
  p.n = fields.integer("n", 1, 128).value_or(1);
  const int64_t best_of = fields.integer("best_of", 1, 128).value_or(p.n);
  if (best_of < p.n) fields.wrong("best_of", fmt::format("n ({}) at least", p.n));
  const double length_penalty = fields.number("length_penalty", -100, 100).value_or(1);
  const int early_stopping = read_early_stopping(fields);
  if (!fields.flag("use_beam_search")) {
    p.best_of = best_of > p.n ? best_of : 0;
    return;
  }
  if (best_of < 2) fields.wrong("use_beam_search", "n or best_of above 1 with it");
  p.beam_width = best_of;
  p.length_penalty = length_penalty;
  p.early_stopping = early_stopping;
}

// 0 without one.
uint64_t read_cache_salt(const Fields& fields) {
  const auto salt = fields.string("cache_salt");
  if (!salt || salt->empty()) return 0;
  uint64_t h = 1469598103934665603ull;  // FNV-1a
  for (const unsigned char c : *salt) h = (h ^ c) * 1099511628211ull;
  return h | 1;
}

}  // namespace

SamplingParams read_sampling(const Fields& fields, const EngineRoom& room) {
  SamplingParams p = room.llm.default_params();
  if (p.temperature == 0) p.temperature = 1;  // the API's default; greedy must be asked for
  p.max_tokens = std::numeric_limits<int32_t>::max();
  p.temperature = fields.number("temperature", 0, 100).value_or(p.temperature);
  if (p.temperature < kColdest) p.temperature = 0;
  p.top_p = fields.number("top_p").value_or(p.top_p);
  p.min_p = fields.number("min_p").value_or(p.min_p);
  p.top_k = fields.integer("top_k", -1, kMaxCount).value_or(p.top_k);
  if (p.top_k == -1) p.top_k = 0;  // vLLM: all
  p.presence_penalty = fields.number("presence_penalty").value_or(p.presence_penalty);
  p.frequency_penalty = fields.number("frequency_penalty").value_or(p.frequency_penalty);
  p.repetition_penalty =
      fields.number("repetition_penalty", 0.01, 100).value_or(p.repetition_penalty);
  p.no_repeat_ngram_size =
      fields.integer("no_repeat_ngram_size", 0, kMaxCount).value_or(p.no_repeat_ngram_size);
  p.min_tokens = fields.integer("min_tokens", 0, kMaxCount).value_or(p.min_tokens);
  p.ignore_eos = fields.flag("ignore_eos");
  if (const auto seed = fields.integer("seed")) p.seed = static_cast<uint64_t>(*seed);
  read_outputs(fields, p);
  read_logit_bias(fields, room, p);
  read_stops(fields, room, p);
  validate(p);
  return p;
}

int64_t read_max_tokens(const Fields& fields, std::initializer_list<const char*> names,
                        int64_t otherwise, size_t longest_prompt, const EngineRoom& room) {
  const auto used = static_cast<int64_t>(longest_prompt);
  const int64_t room_left = room.max_model_len - used;
  const char* name = *names.begin();
  std::optional<int64_t> wanted;
  for (const char* n : names) {
    wanted = fields.integer(n, 0, std::numeric_limits<int32_t>::max());
    name = n;
    if (wanted) break;
  }
  if (room_left < 1 || (wanted && *wanted > room_left))
    throw ApiError(400,
                   fmt::format("{}: the model's context is {} tokens, the prompt has {}{}", name,
                               room.max_model_len, used,
                               wanted ? fmt::format(" and {} more are asked for", *wanted)
                                      : std::string(": nothing can follow")),
                   name, "context_length_exceeded");
  if (wanted) return *wanted;
  return otherwise > 0 ? std::min(otherwise, room_left) : room_left;
}

void check_model(const Fields& fields, const EngineRoom& room) {
  room.loras.find(fields.string("model"));
}

void read_model(const Fields& fields, const EngineRoom& room, GenerationRequest& request) {
  request.model = fields.string("model").value_or(room.model);
  request.lora = room.loras.find(request.model);
}

void refuse(const Fields& fields, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const Json* v = fields.find(name);
    if (!v || (v->is_array() && v->empty()) || (v->is_object() && v->empty())) continue;
    if (*v == false || *v == "") continue;
    throw ApiError(400, fmt::format("{} is not supported by this server", name), name,
                   "unsupported_parameter");
  }
}

void read_shared(const Fields& fields, const EngineRoom& room, GenerationRequest& request) {
  request.params = read_sampling(fields, room);
  request.n = request.params.n;
  request.cache_salt = read_cache_salt(fields);
  read_model(fields, room, request);
  request.priority = static_cast<int32_t>(fields.integer("priority", -1000, 1000).value_or(0));
}

}  // namespace tokamak::serve

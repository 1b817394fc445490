#include "tokamak/llm.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "api/build.h"
#include "api/cache_dir.h"
#include "api/debug_dump.h"
#include "api/generation_config.h"
#include "api/guides.h"
#include "api/in_flight.h"
#include "api/lora_adapter.h"
#include "api/model_cache.h"
#include "api/other_device.h"
#include "api/text_stream.h"
#include "base/json.h"
#include "base/log.h"
#include "formats/model_config.h"
#include "runtime/generation.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "runtime/speculation/draft_model.h"
#include "runtime/speculation/ngram_drafter.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

std::optional<Tokenizer> load_tokenizer(const fs::path& directory) {
  for (const char* file : {"tokenizer.json", "tokenizer.model", "tokenizer.gguf", "vocab.txt"}) {
    std::error_code ignored;
    if (fs::is_regular_file(directory / file, ignored)) return Tokenizer::load(directory);
  }
  return std::nullopt;
}

// The model's, or that of --tokenizer_dir.
std::optional<Tokenizer> own_tokenizer(const LLMOptions& o, const fs::path& model, int64_t vocab) {
  if (o.tokenizer_dir.empty()) return load_tokenizer(model);
  auto tokenizer = load_tokenizer(o.tokenizer_dir);
  if (!tokenizer) fail("--tokenizer_dir '{}' holds no tokenizer", o.tokenizer_dir.string());
  if (tokenizer->vocab_size() > vocab)
    fail("--tokenizer_dir '{}' has {} tokens, the model {}", o.tokenizer_dir.string(),
         tokenizer->vocab_size(), vocab);
  return tokenizer;
}

// chat_template.jinja, or the field of chat_template.json or tokenizer_config.json.
std::optional<std::string> find_chat_template(const fs::path& directory) {
  std::error_code ignored;
  if (fs::is_regular_file(directory / "chat_template.jinja", ignored))
    return read_text(directory / "chat_template.jinja");
  for (const char* file : {"chat_template.json", "tokenizer_config.json"}) {
    if (!fs::is_regular_file(directory / file, ignored)) continue;
    const Json json = load_json(directory / file);
    const auto it = json.find("chat_template");
    if (it == json.end()) continue;
    if (it->is_string()) return it->get<std::string>();
    if (!it->is_array()) continue;
    for (const Json& named : *it)  // several named templates
      if (named.value("name", "") == "default") return named.value("template", "");
  }
  return std::nullopt;
}

// Empty: auto. Up to 1 it is a part, as TensorRT-LLM takes it.
std::optional<double> weights_percent(const std::string& given) {
  if (given == "auto") return std::nullopt;
  const bool sign = given.ends_with('%');
  const char* end = given.data() + given.size() - (sign ? 1 : 0);
  double value = 0;
  const auto [stop, error] = std::from_chars(given.data(), end, value);
  if (error != std::errc() || stop != end || !(value >= 0 && value <= 100))
    fail("--gpu_weights_percent '{}': expected auto, a percentage (80 or 80%) or a part (0.8)",
         given);
  return value <= 1 && !sign ? 100 * value : value;
}

SessionOptions session_options(const LLMOptions& o, const fs::path& engine, Backend& backend) {
  SessionOptions s;
  s.max_num_tokens = o.max_num_tokens;
  s.kv_tokens = o.kv_cache_tokens;
  s.kv_block_size = o.tokens_per_block;
  s.kv_memory_fraction = o.kv_cache_free_gpu_mem_fraction;
  s.weights_percent = weights_percent(o.gpu_weights_percent);
  if (o.on_memory_plan)
    s.on_memory_plan = [f = o.on_memory_plan](const MemoryNeed& need) { f(need.table()); };
  s.deterministic = o.deterministic;
  s.lora = {o.max_lora_rank, o.max_loras, o.lora_target_modules};
  if (o.weights != "auto" && o.weights != "map" && o.weights != "copy")
    fail("weights '{}': known: auto, map, copy", o.weights);
  if (o.weights != "auto") s.copy_weights = o.weights == "copy";
  s.other_layouts = other_layouts(backend);
  if (o.tuning && needs_tuning(read_engine_config(engine), backend))
    s.prepare = [&backend, layouts = s.other_layouts, cache = cache_dir(o.cache_dir)](
                    EngineFile& file, const EngineConfig& config) {
      tune_again(file, config, backend, layouts, cache / "timing.cache");
    };
  return s;
}

SpeculationOptions speculation_options(const LLMOptions& o) {
  SpeculationOptions s{o.speculative_mode, o.max_draft_len, o.prompt_lookup_max,
                       o.prompt_lookup_min};
  s.validate();
  if ((s.mode == "draft_model") != !o.draft_model.empty())
    fail("--speculative_decoding_mode draft_model and --draft_model PATH go together");
  return s;
}

// The same tokens must have the same numbers.
void check_same_vocabulary(const fs::path& draft, const Session& draft_session,
                           const Tokenizer* draft_tokens, const Session& session,
                           const Tokenizer* tokens) {
  if (draft_session.vocab_size() != session.vocab_size())
    fail("draft model '{}' has a vocabulary of {} tokens, the model one of {}", draft.string(),
         draft_session.vocab_size(), session.vocab_size());
  if (!draft_tokens || !tokens) return;
  const int64_t known = std::min(draft_tokens->vocab_size(), tokens->vocab_size());
  for (int32_t id = 0; id < known; ++id)
    if (draft_tokens->piece(id) != tokens->piece(id))
      fail("draft model '{}' has another vocabulary: token {} is '{}' there, '{}' in the model",
           draft.string(), id, draft_tokens->piece(id), tokens->piece(id));
}

// A smaller model on the same device.
std::unique_ptr<Session> open_draft_model(const LLMOptions& o, Backend& backend) {
  if (o.draft_model.empty()) return nullptr;
  LLMOptions options = o;
  options.max_lora_rank = 0;
  options.lora_target_modules.clear();
  options.debug_tensors.clear();
  options.gpu_weights_percent = "100";
  options.kv_cache_free_gpu_mem_fraction *= 0.1;  // the model itself takes of the rest
  const fs::path directory = engine_of(o.draft_model, options, backend);
  SessionOptions s = session_options(options, directory, backend);
  return std::make_unique<Session>(directory, backend, std::move(s));
}

}  // namespace

struct LLM::Impl {
  Impl(const fs::path& model, LLMOptions o)
      : options(std::move(o)),
        backend(make_backend(options.device, options.workers, {}, load_plugins(options.plugins))),
        directory(engine_of(model, options, *backend)),
        speculation(speculation_options(options)),
        draft_session(open_draft_model(options, *backend)),
        session(directory, *backend, session_options(options, directory, *backend)),
        decode_loop(session),
        config(ModelConfig::from_json(session.config().pretrained,
                                      (directory / "config.json").string())),
        tokenizer(own_tokenizer(options, directory, session.vocab_size())),
        defaults(read_generation_config(directory, tokenizer ? &*tokenizer : nullptr)) {
    drafter = make_drafter();
    template_source =
        find_chat_template(options.tokenizer_dir.empty() ? directory : options.tokenizer_dir)
            .value_or("");
    if (!template_source.empty()) chat_template.emplace(template_source);
    if (!options.debug_dir.empty()) {
      dump = std::make_unique<DebugDump>(options.debug_dir);
      session.set_debug_sink([this](const DebugTensor& t) { dump->write(t); });
      session.set_launch_hook([this] { dump->next_step(); });
    }
  }

  std::vector<int32_t> prompt_of(const Request& r, size_t index) const;
  int64_t room(size_t prompt, int64_t wanted) const;
  std::unique_ptr<Drafter> make_drafter();
  std::vector<Completion> generate_wide(std::span<const Request> requests,
                                        const StreamCallback& stream);

  LLMOptions options;
  std::unique_ptr<Backend> backend;
  fs::path directory;
  SpeculationOptions speculation;
  std::unique_ptr<Session> draft_session;
  Session session;
  DecodeLoop decode_loop;
  ModelConfig config;
  std::optional<Tokenizer> tokenizer;
  std::string template_source;
  std::optional<ChatTemplate> chat_template;
  SamplingParams defaults;
  Guides guides;
  std::unique_ptr<DebugDump> dump;
  std::unique_ptr<Drafter> drafter;
};

std::unique_ptr<Drafter> LLM::Impl::make_drafter() {
  if (speculation.mode == "ngram") return std::make_unique<NgramDrafter>(speculation);
  if (!draft_session) return nullptr;
  const auto tokens = load_tokenizer(engine_of(options.draft_model, options, *backend));
  check_same_vocabulary(options.draft_model, *draft_session, tokens ? &*tokens : nullptr, session,
                        tokenizer ? &*tokenizer : nullptr);
  return std::make_unique<DraftModel>(*draft_session, speculation);
}

std::vector<int32_t> LLM::Impl::prompt_of(const Request& r, size_t index) const {
  if (!r.tokens.empty()) return r.tokens;
  if (!tokenizer) fail("'{}' has no tokenizer: give token ids", directory.string());
  std::vector<int32_t> ids = tokenizer->encode(r.text);
  if (ids.empty()) fail("prompt {} is empty and the model has no token to begin with", index);
  return ids;
}

// Tokens that may follow before the model's positions end.
int64_t LLM::Impl::room(size_t prompt, int64_t wanted) const {
  const int64_t most = config.max_position_embeddings;
  const auto used = static_cast<int64_t>(prompt);
  if (most <= 0 || used >= most) return wanted;
  return std::min(wanted, most - used);
}

// With several outputs of a prompt: by the executor, where they share its keys and values.
std::vector<Completion> LLM::Impl::generate_wide(std::span<const Request> requests,
                                                 const StreamCallback& stream) {
  if (drafter)
    fail(
        "--speculative_decoding_mode {} guesses for one output of a prompt: not together with "
        "beam_width, n or best_of above 1",
        speculation.mode);
  std::vector<ExecutorRequest> all;
  for (size_t i = 0; i < requests.size(); ++i) {
    ExecutorRequest& r = all.emplace_back();
    r.tokens = prompt_of(requests[i], i);
    r.params = requests[i].params;
    r.params.max_tokens = room(r.tokens.size(), r.params.max_tokens);
    r.return_generation_logits = requests[i].return_logits;
    r.lora = requests[i].lora;
  }
  return generate_in_flight(session, options.kv_cache_tokens > 0, tokenizer ? &*tokenizer : nullptr,
                            std::move(all), stream);
}

LLM::LLM(const fs::path& model, LLMOptions options)
    : impl_(std::make_unique<Impl>(model, std::move(options))) {}
LLM::~LLM() = default;
LLM::LLM(LLM&&) noexcept = default;

namespace {

// One request while it runs.
struct Running {
  Completion completion;
  std::optional<Sampler> sampler;
  std::optional<TextStream> stream;
  const Request* request = nullptr;
  bool cancelled = false;
};

bool is_stop_token(const SamplingParams& p, int32_t token) {
  return !p.ignore_eos && std::find(p.stop_token_ids.begin(), p.stop_token_ids.end(), token) !=
                              p.stop_token_ids.end();
}

// The last text goes to the stream.
Completion finish(Running& r, GenerationOutput&& output, size_t index,
                  const StreamCallback& stream) {
  Completion c = std::move(r.completion);
  c.tokens = std::move(output.tokens);
  c.first_token_s = output.first_token_s;
  c.total_s = output.total_s;
  c.draft_tokens = output.drafted;
  c.accepted_draft_tokens = output.accepted;
  c.finish_reason = r.cancelled ? "cancelled" : output.stopped ? "stop" : "length";
  if (r.stream) {
    const std::string rest = r.stream->finish();
    if (stream && !rest.empty() && !r.cancelled) stream(index, rest);
    c.text = r.stream->text();
  }
  return c;
}

}  // namespace

std::vector<Completion> LLM::generate(std::span<const Request> requests,
                                      const StreamCallback& stream) {
  if (std::ranges::any_of(requests, [](const Request& r) { return r.params.width() > 1; }))
    return impl_->generate_wide(requests, stream);
  std::vector<Running> running(requests.size());
  std::vector<GenerationInput> inputs(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    Running& r = running[i];
    r.request = &requests[i];
    requests[i].params.validate();
    r.completion.prompt_tokens = impl_->prompt_of(requests[i], i);
    r.sampler.emplace(requests[i].params, impl_->session.vocab_size(), r.completion.prompt_tokens);
    if (impl_->tokenizer)
      r.stream.emplace(*impl_->tokenizer, requests[i].params.stop);
    else if (!requests[i].params.stop.empty())
      fail("'{}' has no tokenizer: stop strings cannot be found", impl_->directory.string());
    inputs[i] = {r.completion.prompt_tokens,
                 impl_->room(r.completion.prompt_tokens.size(), requests[i].params.max_tokens),
                 requests[i].return_logits ? std::nullopt : r.sampler->on_device(),
                 requests[i].lora, &*r.sampler};
  }

  GenerationHooks hooks;
  hooks.choose = [&](size_t i, std::span<const float> logits) {
    Running& r = running[i];
    if (r.request->return_logits) r.completion.logits.emplace_back(logits.begin(), logits.end());
    const int32_t token = r.sampler->next(logits);
    if (r.sampler->logprobs()) r.completion.logprobs.push_back(*r.sampler->logprobs());
    return token;
  };
  hooks.accept = [&](size_t i, int32_t token) {
    Running& r = running[i];
    if (is_stop_token(r.request->params, token)) return false;
    if (!r.stream) return !r.sampler->complete();
    const std::string text = r.stream->push(token);
    if (stream && !text.empty() && !stream(i, text)) r.cancelled = true;
    return !r.stream->stopped() && !r.cancelled && !r.sampler->complete();
  };
  std::vector<GenerationOutput> outputs =
      tokamak::generate(impl_->session, impl_->decode_loop, inputs, hooks, impl_->drafter.get());

  std::vector<Completion> completions;
  for (size_t i = 0; i < running.size(); ++i)
    completions.push_back(finish(running[i], std::move(outputs[i]), i, stream));
  return completions;
}

void LLM::score(std::span<const int32_t> tokens,
                const std::function<void(int64_t, std::span<const float>)>& row, int32_t lora) {
  Session& s = impl_->session;
  struct Sequence {
    Session& session;
    int32_t id;
    ~Sequence() { session.remove_sequence(id); }
  } sequence{s, s.add_sequence()};
  s.set_adapter(sequence.id, lora);
  s.reserve(static_cast<int64_t>(tokens.size()), 1);
  for (size_t at = 0; at < tokens.size();) {
    const auto n = std::min<size_t>(tokens.size() - at, static_cast<size_t>(s.max_logit_rows()));
    const SequenceInput input{sequence.id, tokens.subspan(at, n), WantLogits::all};
    const LogitRows logits = s.step({&input, 1});
    for (size_t i = 0; i < n; ++i)
      row(static_cast<int64_t>(at + i), logits.row(static_cast<int64_t>(i)));
    at += n;
  }
}

std::shared_ptr<const Guide> LLM::guide(const GuideSpec& spec) const {
  return impl_->guides.make(spec, impl_->tokenizer ? &*impl_->tokenizer : nullptr,
                            impl_->session.vocab_size());
}

int32_t LLM::load_lora(const fs::path& directory) {
  const LoraAdapter adapter = read_lora_adapter(directory, impl_->config);
  return impl_->session.adapters().load(adapter.matrices, directory.string());
}

void LLM::unload_lora(int32_t lora) { impl_->session.adapters().unload(lora); }

const SamplingParams& LLM::default_params() const { return impl_->defaults; }
const ModelConfig& LLM::config() const { return impl_->config; }
const fs::path& LLM::engine_dir() const { return impl_->directory; }
Session& LLM::session() { return impl_->session; }
const std::string& LLM::chat_template_source() const { return impl_->template_source; }
Drafter* LLM::drafter() { return impl_->drafter.get(); }
bool LLM::has_chat_template() const { return impl_->chat_template.has_value(); }

const Tokenizer& LLM::tokenizer() const {
  if (!impl_->tokenizer) fail("'{}' has no tokenizer files", impl_->directory.string());
  return *impl_->tokenizer;
}

std::string LLM::apply_chat_template(const std::string& messages_json,
                                     const std::string& tools_json,
                                     bool add_generation_prompt) const {
  if (!impl_->chat_template) fail("'{}' has no chat template", impl_->directory.string());
  const auto parse = [](const std::string& text, const char* what) {
    try {
      return OrderedJson::parse(text);
    } catch (const nlohmann::json::exception& e) {
      fail("{} are not JSON: {}", what, e.what());
    }
  };
  OrderedJson variables = OrderedJson::object();
  variables["messages"] = parse(messages_json, "chat messages");
  if (!tools_json.empty()) variables["tools"] = parse(tools_json, "tools");
  variables["add_generation_prompt"] = add_generation_prompt;
  const auto special = [&](const char* name, std::optional<int32_t> id) {
    if (id) variables[name] = impl_->tokenizer->piece(*id);
  };
  if (impl_->tokenizer) {
    special("bos_token", impl_->tokenizer->bos_id());
    special("eos_token", impl_->tokenizer->eos_id());
    special("unk_token", impl_->tokenizer->unk_id());
    special("pad_token", impl_->tokenizer->pad_id());
  }
  return impl_->chat_template->render(variables);
}

}  // namespace tokamak

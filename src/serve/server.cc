#include "serve/server.h"

#include <chrono>
#include <filesystem>
#include <thread>

#include "base/log.h"
#include "runtime/session.h"
#include "serve/access.h"
#include "serve/routes.h"

namespace tokamak::serve {
namespace {

// KV cache of a device whose memory grows (CPU): for this many tokens unless told otherwise.
constexpr int64_t kDefaultKvTokens = 32768;
// Tokens of a CPU's step unless told otherwise: longer pieces of prompts are a little faster, but
// all who are reading their answers wait for them.
constexpr int64_t kDefaultStepTokens = 128;

// Sequences in one step of a GPU unless told otherwise, where the KV cache holds so many of
// kTypicalTokens.
constexpr int64_t kMostSequences = 1024, kTypicalTokens = 256;

// Few on a CPU: its steps take the longer, the more there are.
int64_t default_batch(Session& session) {
  const BuildLimits& limits = session.config().limits;
  const int64_t least = std::max<int64_t>(limits.max_batch_size * limits.max_beam_width, 64);
  if (session.backend().in_host_memory()) return least;
  const int64_t room = int64_t{session.kv_pool().size()} * session.kv_block_size();
  return std::max(least, std::min(room / kTypicalTokens, kMostSequences));
}

std::string name_of(const std::string& given, const std::string& path) {
  if (!given.empty()) return given;
  std::filesystem::path p(path);
  if (!p.has_filename()) p = p.parent_path();
  const std::string name =
      p.extension() == ".gguf" ? p.stem().string() : std::filesystem::path(p).filename().string();
  return name.empty() ? "model" : name;
}

ExecutorOptions executor_options(LLM& llm, const ServeOptions& o) {
  ExecutorOptions e = o.executor;
  Session& session = llm.session();
  const BuildLimits& limits = session.config().limits;
  if (e.max_batch_size <= 0) e.max_batch_size = default_batch(session);
  e.max_batch_size = std::min(e.max_batch_size, session.max_num_tokens());
  if (e.max_num_tokens <= 0 && session.backend().in_host_memory())
    e.max_num_tokens = std::max(kDefaultStepTokens, e.max_batch_size);
  if (o.max_prefill_tokens)
    e.max_prefill_tokens = *o.max_prefill_tokens;
  else if (session.backend().in_host_memory())
    e.max_prefill_tokens = -1;
  e.max_queue_size = 0;  // EngineRoom::admit
  e.drafter = llm.drafter();
  if (session.kv_pool().size() == 0) {
    const int64_t all = e.max_batch_size * limits.max_seq_len;
    const int64_t tokens = o.kv_cache_tokens > 0
                               ? o.kv_cache_tokens
                               : std::max(limits.max_seq_len, std::min(all, kDefaultKvTokens));
    session.reserve(tokens, e.max_batch_size);
  }
  return e;
}

int http_threads(const ServeOptions& o) {
  const auto here = static_cast<int>(std::thread::hardware_concurrency());
  return o.http_threads > 0 ? o.http_threads : std::max(2, here / 4);
}

const Tokenizer* tokenizer_of(const LLM& llm) {
  try {
    return &llm.tokenizer();
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace

struct Server::Impl {
  Impl(LLM& llm, const std::string& name, ServeOptions o)
      : options(std::move(o)),
        metrics(name_of(options.served_model_name, name)),
        executor_settings(executor_options(llm, options)),
        executor(std::make_unique<Executor>(llm.session(), executor_settings)),
        loras(llm, *executor, name_of(options.served_model_name, name)),
        room{llm,  *executor, metrics, tokenizer_of(llm), name_of(options.served_model_name, name),
             loras},
        token_text(room.tokenizer),
        access(options.api_keys, options.allowed_origins),
        routes(room, token_text) {
    Session& session = llm.session();
    room.vocab_size = session.vocab_size();
    room.max_model_len =
        std::min<int64_t>(session.config().limits.max_seq_len,
                          int64_t{session.kv_pool().size()} * session.kv_block_size());
    room.request_timeout_s = options.request_timeout_s;
    room.pooling = options.pooling;
    room.created = unix_time();
    room.allow_lora_updates = options.allow_lora_updates;
    if (options.executor.max_queue_size > 0)
      room.max_in_flight = executor_settings.max_batch_size + options.executor.max_queue_size;
    for (const auto& [lora, path] : options.lora_modules) loras.load(lora, path);
    http = std::make_unique<HttpServer>(
        options.host, options.port, http_threads(options), options.limits,
        [this](HttpRequest request, std::shared_ptr<Reply> reply) {
          handle(std::move(request), std::move(reply));
        },
        [](int status, const std::string& message) {
          return to_text(error_object(status, message));
        },
        options.tls);
  }

  // Callbacks of the executor's may still use replies, HTTP threads the executor: both stand still
  // before either goes.
  ~Impl() {
    http->stop();
    executor.reset();
    http.reset();
  }

  void handle(HttpRequest request, std::shared_ptr<Reply> reply) {
    const Access::Verdict verdict = access.check(request, routes.is_open(request));
    auto call =
        std::make_shared<Call>(std::move(request), std::move(reply), verdict.headers,
                               Call::Settings{&metrics, options.log_requests, options.log_json});
    if (call->request().path == "/v1/messages") call->set_error_style(ErrorStyle::anthropic);
    try {
      if (verdict.preflight) return call->text(204, {}, {});
      if (!verdict.error.empty()) throw ApiError(401, verdict.error, {}, "invalid_api_key");
      routes.handle(call);
    } catch (const ApiError& e) {
      call->error(e);
    } catch (const Error& e) {
      call->error(ApiError(400, e.what()));
    } catch (const std::exception& e) {
      log::error("request {}: {}", call->id(), e.what());
      call->error(ApiError(500, "internal error"));
    }
  }

  ServeOptions options;
  Metrics metrics;
  ExecutorOptions executor_settings;
  std::unique_ptr<Executor> executor;
  LoraModels loras;
  EngineRoom room;
  TokenText token_text;
  Access access;
  Routes routes;
  std::unique_ptr<HttpServer> http;
};

Server::Server(LLM& llm, const std::string& name, ServeOptions options)
    : impl_(std::make_unique<Impl>(llm, name, std::move(options))) {}
Server::~Server() = default;

uint16_t Server::port() const { return impl_->http->port(); }
const std::string& Server::model() const { return impl_->room.model; }
int64_t Server::max_model_len() const { return impl_->room.max_model_len; }
ExecutorStats Server::stats() const { return impl_->executor->stats(); }
int64_t Server::in_flight() const { return impl_->room.in_flight; }
EngineRoom& Server::room() { return impl_->room; }

bool Server::drain(double seconds) {
  impl_->room.draining = true;
  impl_->http->stop_accepting();
  const double end = now_s() + seconds;
  // Answers that are complete but not yet sent hold their connection open.
  while (impl_->room.in_flight > 0 && now_s() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const double sent = std::min(end, now_s() + 1);
  while (impl_->http->connections() > 0 && now_s() < sent)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return impl_->room.in_flight == 0;
}

}  // namespace tokamak::serve

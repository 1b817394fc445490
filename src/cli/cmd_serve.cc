// tokamak serve: a model behind HTTP, with OpenAI's protocol.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <climits>
#include <csignal>
#include <cstdio>
#include <memory>

#include "base/log.h"
#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/model_options.h"
#include "cli/random_model.h"
#include "grpc/grpc_server.h"
#include "serve/lora_models.h"
#include "serve/server.h"

namespace tokamak::cli {
namespace {

struct ServeCommand {
  ModelOptions model;
  RandomModelOptions random;
  serve::ServeOptions serve;
  double drain_timeout_s = 30;
  int grpc_port = -1;  // none
  std::string log_format = "text", pooling = "last", config;
  std::vector<std::string> lora_modules;
};

// The first SIGTERM or SIGINT; the next one ends the program at once.
int wait_for_signal(const sigset_t& signals) {
  int signal = 0;
  sigwait(&signals, &signal);
  return signal;
}

int run_server(ServeCommand& o) {
  // Before any thread starts: all inherit the mask, and only sigwait sees these.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  std::signal(SIGPIPE, SIG_IGN);

  o.serve.kv_cache_tokens = o.model.llm.kv_cache_tokens;
  o.serve.executor.max_num_tokens = o.model.llm.max_num_tokens;
  o.serve.pooling = o.pooling == "mean" ? Pooling::mean : Pooling::last;
  for (const std::string& module : o.lora_modules)
    o.serve.lora_modules.push_back(serve::parse_lora_module(module));
  if (static_cast<int64_t>(o.lora_modules.size()) > o.model.llm.max_loras)
    o.model.llm.max_loras = static_cast<int64_t>(o.lora_modules.size());
  o.serve.log_json = o.log_format == "json";
  if (const auto made = random_model(o.random, o.model.llm); !made.empty()) {
    o.model.model = made.string();
    if (o.serve.served_model_name.empty()) o.serve.served_model_name = "random";
  }
  LLM llm(o.model.path(), o.model.llm);
  serve::Server server(llm, o.model.path(), o.serve);
  std::printf("serving %s on %s://%s:%d (context %lld tokens)\n", server.model().c_str(),
              o.serve.tls.key.empty() ? "http" : "https", o.serve.host.c_str(), server.port(),
              static_cast<long long>(server.max_model_len()));
  std::unique_ptr<serve::GrpcServer> grpc;
  if (o.grpc_port >= 0) {
    grpc = serve::start_grpc(
        server.room(),
        {o.serve.host, static_cast<uint16_t>(o.grpc_port), o.serve.tls.certificate, o.serve.tls.key,
         o.serve.api_keys, static_cast<int>(std::min<size_t>(o.serve.limits.body_bytes, INT_MAX)),
         o.serve.log_requests, o.serve.log_json});
    std::printf("gRPC on %s:%d\n", o.serve.host.c_str(), grpc->port());
  }
  std::fflush(stdout);
  wait_for_signal(signals);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  log::info("shutting down: {} sequences are under way", server.in_flight());
  if (!server.drain(o.drain_timeout_s))
    log::warning("{} sequences are cut off after {} s (--drain_timeout)", server.in_flight(),
                 o.drain_timeout_s);
  if (grpc) grpc->drain(1);  // what was answered leaves
  return 0;
}

// Where it listens and to whom.
void add_client_options(CLI::App& app, ServeCommand& o) {
  serve::ServeOptions& s = o.serve;
  app.add_option("--host", s.host, "Address to listen on; 0.0.0.0: all")->capture_default_str();
  app.add_option("--port", s.port, "0: any that is free")->capture_default_str();
  app.add_option("--grpc_port", o.grpc_port, "KServe v2 over gRPC; 0: any that is free")
      ->check(CLI::Range(0, 65535));
  app.add_option("--served_model_name", s.served_model_name,
                 "The model's name to clients; default: its file's");
  app.add_option("--lora_modules", o.lora_modules,
                 "NAME=PATH of LoRA adapters, which clients name as models; more come by "
                 "/v1/load_lora_adapter (needs --max_lora_rank)");
  app.add_flag("--allow_runtime_lora_updating", s.allow_lora_updates,
               "Clients may load and unload adapters from this machine's files");
  app.add_option("--api_key", s.api_keys,
                 "Keys that clients must give; repeatable; also TOKAMAK_API_KEY");
  app.add_option("--allowed_origin", s.allowed_origins,
                 "Origins whose web pages may ask (CORS); '*': all; repeatable");
}

// What runs in a step, and where its keys and values are kept.
void add_executor_options(CLI::App& app, serve::ServeOptions& s) {
  app.add_option(
         "--max_prefill_tokens", s.max_prefill_tokens,
         "Tokens of prompts in a step beside streams that run; 0: as many as fit; -1: by the "
         "time that steps take (default on a CPU)")
      ->check(CLI::Range(-1, INT_MAX));
  app.add_option(
         "--max_batch_size", s.executor.max_batch_size,
         "Sequences in one step; 0: the engine's limit, at least 64; on a GPU up to 1024, as "
         "the KV cache has room")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max_queue_size", s.executor.max_queue_size,
                 "Sequences that may wait beyond a full batch; more get status 429; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--batch_scheduler_policy", s.executor.batch_scheduler_policy,
                 "guaranteed_no_evict or max_utilization")
      ->check(CLI::IsMember({"guaranteed_no_evict", "max_utilization"}))
      ->capture_default_str();
  app.add_option("--context_chunking_policy", s.executor.context_chunking_policy,
                 "Who gets the room for prompts in a step")
      ->check(CLI::IsMember({"first_come_first_served", "equal_progress"}))
      ->capture_default_str();
  app.add_option("--max_beam_width", s.executor.max_beam_width,
                 "Beams that a request may ask for; 0: as many as fit into a step")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--kv_cache_host_memory_bytes,--kv_host_cache_size",
                 s.executor.kv_cache_host_memory_bytes,
                 "Host memory for KV blocks that must leave the cache; they come back when needed")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("!--no_block_reuse", s.executor.enable_block_reuse,
               "Do not share the KV cache of equal prompt beginnings");
}

// How long and how much: requests, threads, connections, the log.
void add_connection_options(CLI::App& app, ServeCommand& o) {
  serve::ServeOptions& s = o.serve;
  app.add_option("--embedding_pooling", o.pooling,
                 "Of /v1/embeddings, unless a request says otherwise: mean or last")
      ->check(CLI::IsMember({"mean", "last"}))
      ->capture_default_str();
  app.add_option("--request_timeout", s.request_timeout_s, "Seconds for one request; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--drain_timeout", o.drain_timeout_s,
                 "Seconds that running requests get after SIGTERM")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--http_threads", s.http_threads,
                 "Threads for connections and text; 0: a quarter of the machine's, at least 2")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  auto* key = app.add_option("--ssl_keyfile", s.tls.key, "Its private key, PEM");
  auto* certificate =
      app.add_option("--ssl_certfile", s.tls.certificate, "Certificate for HTTPS, PEM")->needs(key);
  key->needs(certificate);
  app.add_option("--max_body_bytes", s.limits.body_bytes, "Of a request")->capture_default_str();
  app.add_option("--max_header_bytes", s.limits.header_bytes, "Of a request")
      ->capture_default_str();
  app.add_option("--max_connections", s.limits.connections, "Open at a time")
      ->capture_default_str();
  app.add_flag("!--no_request_log", s.log_requests, "No line for each request");
  app.add_option("--log_format", o.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

}  // namespace

Run declare_serve(CLI::App& app) {
  auto o = std::make_shared<ServeCommand>();
  add_model_options(app, o->model);
  add_speculation_options(app, o->model.llm);
  add_random_model_options(app, o->random);
  add_client_options(app, *o);
  add_executor_options(app, o->serve);
  add_connection_options(app, *o);
  app.add_option("--config", o->config, "File of options: NAME = VALUE, a line each");
  take_environment(app);
  return [o, &app] {
    if (!o->config.empty()) take_config_file(app, o->config);
    return run_server(*o);
  };
}

}  // namespace tokamak::cli

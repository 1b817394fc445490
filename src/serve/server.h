// tokamak serve: one model behind HTTP. docs/serving.md describes the endpoints.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve/http.h"
#include "tokamak/executor.h"
#include "tokamak/llm.h"

namespace tokamak::serve {

struct EngineRoom;

struct ServeOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;  // 0: any that is free
  int http_threads = 0;  // 0: a quarter of the machine's, at least 2
  HttpLimits limits;
  TlsFiles tls;
  std::string served_model_name;                                  // empty: the model's file name
  std::vector<std::pair<std::string, std::string>> lora_modules;  // name, path
  bool allow_lora_updates = false;           // by /v1/load_lora_adapter and /v1/unload_lora_adapter
  std::vector<std::string> api_keys;         // none: open to all
  std::vector<std::string> allowed_origins;  // of web pages (CORS); "*": all
  ExecutorOptions executor;                  // max_queue_size is kept by the server
  std::optional<int64_t> max_prefill_tokens;  // the executor's; none: -1 on a CPU, 0 elsewhere
  int64_t kv_cache_tokens = 0;                // room where the device leaves the choice; 0: by rule
  Pooling pooling = Pooling::last;            // of embeddings
  double request_timeout_s = 0;               // 0: none
  bool log_requests = true, log_json = false;
};

class Server {
 public:
  // Listens when it returns. `name`: the model as the user gave it.
  Server(LLM& llm, const std::string& name, ServeOptions options);
  ~Server();  // cancels what runs
  uint16_t port() const;
  const std::string& model() const;
  int64_t max_model_len() const;
  ExecutorStats stats() const;
  int64_t in_flight() const;  // sequences that run and wait
  EngineRoom& room();         // for other protocols, which must end before the server
  // From now on nothing new is accepted; waits until what runs is done. False: out of time.
  bool drain(double seconds);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tokamak::serve

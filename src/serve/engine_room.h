// What every endpoint works with: the model, its executor, and the books of what is under way.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "serve/lora_models.h"
#include "serve/metrics.h"
#include "tokamak/executor.h"
#include "tokamak/llm.h"

namespace tokamak::serve {

struct ServeOptions;

inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct EngineRoom {
  LLM& llm;
  Executor& executor;
  Metrics& metrics;
  const Tokenizer* tokenizer;  // none: token ids only
  std::string model;           // its name to clients
  LoraModels& loras;
  int64_t vocab_size = 0, max_model_len = 0;
  int64_t max_in_flight = 0;  // sequences that run and wait; 0: no limit
  double request_timeout_s = 0;
  Pooling pooling = Pooling::last;  // of embeddings, unless a request says otherwise
  int64_t created = 0;              // Unix time
  bool allow_lora_updates = false;

  std::atomic<int64_t> in_flight = 0;
  std::atomic<bool> draining = false;

  // ApiError 429 when so many more sequences find no room, 503 when the server ends.
  void admit(int64_t sequences);
  void leave(int64_t sequences) { in_flight -= sequences; }
  const Tokenizer& need_tokenizer(const char* field) const;  // ApiError 400
};

}  // namespace tokamak::serve

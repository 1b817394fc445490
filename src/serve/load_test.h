// Loads an OpenAI endpoint with streaming completions and tells how it did.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "serve/load_client.h"

namespace tokamak::serve {

struct LoadOptions {
  Target target;
  std::string endpoint = "/v1/completions";  // or /v1/chat/completions
  std::string model, api_key;
  std::vector<std::string> prompts;  // taken in turn
  int64_t requests = 64;
  int64_t concurrency = 16;  // closed loop: so many clients, each asks when it has its answer
  double rate = 0;           // > 0: open loop: Poisson arrivals per second, however many run
  int64_t output_len = 128;
  bool ignore_eos = true;
  double temperature = 0;
  uint64_t seed = 0;
  double timeout_s = 600;
};

struct LoadSample {
  std::string error;  // empty: it worked
  int64_t prompt_tokens = 0, output_tokens = 0;
  double ttft_s = 0;  // request sent → first text
  double tpot_s = 0;  // (last text − first text) / (output tokens − 1)
  double e2e_s = 0;
  std::vector<double> itl_s;  // from one piece of text to the next
};
// Of an answer, after the run: parsing must not disturb what is measured.
LoadSample to_sample(const TimedAnswer& answer);

struct LoadReport {
  std::vector<LoadSample> samples;
  double wall_s = 0;
  std::string table(const LoadOptions& options) const;
  std::string json(const LoadOptions& options) const;
};

LoadReport run_load(const LoadOptions& options);

struct PromptOptions {
  int64_t count = 64, words = 120, shared_prefix_words = 0;
  uint64_t seed = 0;
};
// Random English words: no two prompts begin alike but for the shared prefix.
std::vector<std::string> random_prompts(const PromptOptions& options);

}  // namespace tokamak::serve

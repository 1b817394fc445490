// Executor: many requests share one model. Requests come and go at any time; each step of the model
// works on whatever is there, tokens of running requests and pieces of new prompts alike
// (in-flight batching). Requests that begin alike share their KV cache.
//
//   tokamak::Executor executor(llm.session());
//   const auto id = executor.enqueue({.tokens = prompt, .params = params});
//   const auto result = executor.await(id);
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tokamak/sampling_params.h"

namespace tokamak {

class Drafter;
class Session;

struct ExecutorOptions {
  int64_t max_batch_size = 0;  // sequences in one step; 0: the engine's limit
  int64_t max_beam_width = 0;  // of a request; 0: as many as fit into a step
  int64_t max_num_tokens = 0;  // tokens in one step; 0: the engine's limit
  // Prompts' tokens in a step beside sequences that have their prompt behind them, which wait for
  // them; 0: as many as fit; -1: as many as slow the step to twice what it takes without them,
  // by the steps before, or to 25 ms.
  int64_t max_prefill_tokens = 0;
  int64_t max_queue_size = 0;  // requests that wait; 0: no limit
  // guaranteed_no_evict: a request starts when all that it may become fits beside the others;
  // max_utilization: when its next tokens fit, and the last to come gives way when they do not: it
  // goes on later, over what the cache still has of it, and computes the rest again.
  std::string batch_scheduler_policy = "guaranteed_no_evict";
  std::string context_chunking_policy = "first_come_first_served";  // or equal_progress
  bool enable_block_reuse = true;
  Drafter* drafter = nullptr;  // speculative decoding: LLM::drafter(), this executor's alone
  // Host memory for KV blocks that must leave the cache: prompts of before, requests that gave way.
  int64_t kv_cache_host_memory_bytes = 0;
};

// How the hidden states of a prompt become one vector.
enum class Pooling : uint8_t { mean, last };

// Called with the logits [vocab] that a token will be chosen from, and may change them; `output`:
// the tokens of that sequence so far. On a thread of the executor's, which waits for it.
using LogitsProcessor =
    std::function<void(std::span<float> logits, std::span<const int32_t> output)>;

struct ExecutorRequest {
  std::vector<int32_t> tokens;           // the prompt, at least one
  SamplingParams params;                 // stop strings are the caller's: it cancels
  int32_t priority = 0;                  // higher ones start first and give way last
  uint64_t cache_salt = 0;               // KV blocks are shared among equal salts alone
  int32_t lora = -1;                     // of LLM::load_lora(); -1: none
  std::optional<double> timeout_s = {};  // from enqueue() on
  // >= 0: log-probabilities of the prompt's tokens and of so many best ones. All of the prompt is
  // computed then, whatever the cache knows of it.
  int prompt_logprobs = -1;
  // The prompt's embedding is wanted, and nothing more: the request ends with its first event. Not
  // together with what is about tokens: several outputs, a guide, log-probabilities, logits.
  std::optional<Pooling> pooling = {};
  // The logits of all the prompt's tokens (all of it is computed then), and those that each token
  // was chosen from. On a device with a sampler of its own the host chooses such a request's
  // tokens.
  bool return_context_logits = false, return_generation_logits = false;
  LogitsProcessor logits_processor = {};  // likewise; log-probabilities are those after it
};

using SharedLogits = std::shared_ptr<const std::vector<float>>;

struct ExecutorEvent {
  uint64_t id = 0;
  int32_t output = 0;                 // of the request's n
  std::optional<int32_t> token = {};  // none: the output ended without another one
  std::optional<TokenLogprobs> logprobs = {};
  // With the first token: of the prompt's second token on, when asked for; and how many of the
  // prompt's tokens were in the KV cache already.
  std::vector<TokenLogprobs> prompt_logprobs = {};
  SharedLogits context_logits = {};  // [prompt][vocab]
  int64_t reused_tokens = 0;
  std::vector<float> embedding = {};  // not normalized
  SharedLogits logits = {};           // [vocab], when asked for
  // Of an output's last event: "stop", "length", "cancelled", "timeout" or "error".
  std::string finish_reason = {};
  std::string error = {};
  double score = 0;  // of the last event: a beam's, or the log-probability per token with best_of
  bool last() const { return !finish_reason.empty(); }
};
// Called in the order of events, from a thread of the executor's that runs no steps.
using ExecutorCallback = std::function<void(const ExecutorEvent&)>;

struct ExecutorOutput {
  std::vector<int32_t> tokens;  // with the stop token, when one ended it
  std::vector<TokenLogprobs> logprobs;
  std::vector<SharedLogits> logits;
  std::string finish_reason, error;
  double score = 0;
};

// The first output, and the others of n.
struct ExecutorResult : ExecutorOutput {
  std::vector<ExecutorOutput> others;
  std::vector<TokenLogprobs> prompt_logprobs;
  SharedLogits context_logits;
  std::vector<float> embedding;
  int64_t reused_tokens = 0;
};

struct ExecutorStats {
  int64_t waiting = 0, running = 0;           // requests, now
  int64_t kv_blocks = 0, kv_blocks_used = 0;  // used: by requests
  int64_t kv_blocks_cached = 0;               // kept for prompts to come, free when needed
  int64_t steps = 0, preemptions = 0;         // since the start, as all below
  int64_t prompt_tokens = 0, reused_tokens = 0, generated_tokens = 0;
  int64_t finished = 0, failed = 0, cancelled = 0;  // requests
  int64_t kv_blocks_to_host = 0, kv_blocks_from_host = 0;
  // Part of the blocks that running sequences would need for themselves, saved by sharing; part of
  // the room in the blocks they use that holds no token. Means over steps.
  double kv_shared = 0, kv_waste = 0;
  // Speculative decoding: how often tokens were guessed, how many, and how many were right.
  int64_t drafts = 0, draft_tokens = 0, accepted_draft_tokens = 0;
  double step_s = 0;  // inside the model
  double busy_s = 0;  // while there was something to do
};

class Executor {
 public:
  // The session is the executor's own until it ends. A KV cache without a fixed size gets room for
  // max_batch_size sequences of the engine's max_seq_len.
  explicit Executor(Session& session, ExecutorOptions options = {});
  ~Executor();  // what still runs is cancelled
  Executor(const Executor&) = delete;

  // Error at once: an empty prompt, bad parameters, a full queue, more than the KV cache can hold.
  uint64_t enqueue(ExecutorRequest request, ExecutorCallback callback = {});
  // Its blocks are free after the step that runs. Ids that are gone are ignored.
  void cancel(uint64_t id);
  void cancel(uint64_t id, int32_t output);  // of n; the others go on
  // Waits for the end of a request that has no callback; once for each.
  ExecutorResult await(uint64_t id);
  ExecutorStats stats() const;
  // Sequences that one request may have: n, best_of, beam_width.
  int64_t max_width() const;
  // Calls it while no step runs, and waits for that: to load adapters. What it throws comes here.
  void between_steps(const std::function<void()>& f);
  // No more requests with it; it goes when the last one has ended. Error when there is none.
  void unload_lora(int32_t lora);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tokamak

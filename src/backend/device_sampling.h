// Choosing tokens and feeding them back on the device, so that decoding needs no host between
// steps. Plain data: kernels read it as it is.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tokamak {

// One row's parameters, as include/tokamak/sampling_params.h means them.
struct RowSampling {
  float temperature = 0;  // 0: the likeliest token, the lowest id in a tie
  float top_p = 1, min_p = 0;
  int32_t top_k = 0;  // 0: all
  float repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  int32_t no_repeat_ngram_size = 0;  // 0: off
  uint64_t seed = 0;
};

// Whether the choice depends on the tokens before it.
constexpr bool needs_history(const RowSampling& s) {
  return s.repetition_penalty != 1 || s.presence_penalty != 0 || s.frequency_penalty != 0 ||
         s.no_repeat_ngram_size != 0;
}
constexpr bool is_plain(const RowSampling& s) { return s.temperature == 0 && !needs_history(s); }

// In place of a token where there is none to choose.
enum ChoiceError : int32_t {
  kNotChosenYet = -1,
  kNanLogits = -2,
  kInfiniteLogits = -3,
  kNothingLeft = -4,
};

// The rows of a decoding step: one token of every sequence. Arrays in device memory.
struct DecodeRows {
  int32_t rows = 0;
  int64_t vocab = 0;
  const float* logits = nullptr;        // [rows][vocab]
  const RowSampling* params = nullptr;  // [rows]
  // Prompt, then output; the chosen token is appended.
  int32_t* history = nullptr;      // [rows][history_stride]
  int32_t* history_len = nullptr;  // [rows]
  const int32_t* prompt_len = nullptr;
  int64_t history_stride = 0;
  // The next step's inputs: the chosen token, one position and one token of context more.
  int32_t *token_ids = nullptr, *positions = nullptr, *context_len = nullptr;  // [rows]
  // Output token n = history_len - prompt_len of a row goes to [row][n], or a ChoiceError, which
  // every later step of that row repeats. In memory that the host sees (allocate_shared).
  int32_t* chosen = nullptr;
  int64_t chosen_stride = 0;

  // Rows that are chosen for once have no history (null), and need none: a token or a ChoiceError
  // goes to chosen[row] and to token_ids[row]; history_len - prompt_len is how many tokens the
  // request has.
};

// Chosen tokens become inputs of the next step: token_ids[to[i]] = chosen[from[i]], of errors 0.
struct FedTokens {
  int32_t count = 0;
  const int32_t *chosen = nullptr, *from = nullptr, *to = nullptr;
  int32_t* token_ids = nullptr;
};

class DeviceSampler {
 public:
  virtual ~DeviceSampler() = default;
  virtual size_t workspace_bytes(int32_t rows, int64_t vocab) const = 0;
  // Enqueued like a launch: it can be recorded. Same seed and logits, same token as Sampler's, but
  // for rounding of sums. `plain`: all rows are greedy and without penalties.
  virtual void choose(const DecodeRows& rows, bool plain, std::byte* workspace) = 0;
  virtual void feed(const FedTokens& tokens) = 0;
};

}  // namespace tokamak

// Decoding without the host between steps: the device chooses every token and feeds it to its next
// step, the host starts steps ahead of time and reads the tokens as they appear.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <vector>

#include "backend/backend.h"
#include "runtime/session.h"

namespace tokamak {

struct DecodeRow {
  int32_t sequence = -1;
  std::span<const int32_t> prompt;
  std::span<const int32_t> output;  // so far, at least one; the last is not in the KV cache yet
  int64_t max_tokens = 0;           // more of them, at least one
  RowSampling sampling;
};

class DecodeLoop {
 public:
  explicit DecodeLoop(Session& session) : session_(session), backend_(session.backend()) {}

  // Whether the device can decode so many sequences together by itself.
  bool fits(int64_t rows) const;

  // Calls take(row, token) with each row's tokens in order; false ends a row. Returns when all rows
  // have ended, or when so many have that the others should go on in a smaller batch.
  using Take = std::function<bool(size_t row, int32_t token)>;
  void run(std::span<const DecodeRow> rows, const Take& take);

 private:
  using Key =
      std::tuple<int32_t, int32_t, bool, bool>;  // rows, bucket of the context, plain, adapters
  struct Step {
    int seen = 0;
    std::unique_ptr<Recording> recording;
  };

  void size_buffers(int64_t rows, int64_t history, int64_t outputs);
  void fill(std::span<const DecodeRow> rows, const Session::DecodeInputs& inputs);
  void start_step(int32_t longest);
  bool read_step(std::span<const DecodeRow> rows, int64_t step, const Take& take);
  void forget_when_moved();

  Session& session_;
  Backend& backend_;
  int64_t rows_ = 0, history_stride_ = 0, chosen_stride_ = 0;  // capacities
  Backend::Buffer history_, lengths_, params_, workspace_, chosen_;
  size_t workspace_bytes_ = 0;
  DecodeRows step_;  // what the sampler gets
  bool plain_ = false, adapters_ = false;
  std::vector<bool> ended_;
  size_t active_ = 0;
  std::map<Key, Step> steps_;
  uint64_t memory_version_ = 0;  // of the session, when they were recorded
};

}  // namespace tokamak

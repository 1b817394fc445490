// How one request turns logits into tokens: the one place that knows of sampling. The executor asks
// it whenever the model has computed the request's next logits.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device_choice.h"
#include "runtime/sampler.h"
#include "runtime/scheduler/scheduler.h"
#include "runtime/session.h"
#include "tokamak/executor.h"

namespace tokamak {

// What became known of one of the request's outputs.
struct OutputNews {
  int32_t output = 0;
  std::optional<int32_t> token = {};
  std::optional<TokenLogprobs> logprobs = {};
  std::shared_ptr<const std::vector<float>> logits = {};  // that the token was chosen from
  std::string finish_reason = {};  // when this is its end: "stop" or "length"
  double score = 0;                // as ExecutorEvent's
};

struct Chosen {
  std::vector<Branch> next;  // the sequences from now on; empty: the request has ended
  std::vector<OutputNews> news;
};

class Choice {
 public:
  virtual ~Choice() = default;
  // logits: a row for each of the request's sequences, in their order. Called beside other
  // requests' choices, on any thread. Error fails this request alone.
  virtual Chosen next(const LogitRows& logits) = 0;

  // What next() will need whatever the logits are (guides' masks) can be made while a device
  // computes them, beside other requests'. Error: as next().
  virtual bool prepares() const { return false; }
  virtual void prepare() {}

  // Of a request of one sequence whose tokens may be guessed ahead: next() is called for each token
  // that follows a right guess. Null: no guesses.
  virtual const Sampler* sampler() const { return nullptr; }

  // What a device with a sampler of its own needs to choose in its place, a row for each sequence;
  // empty: the logits must come here.
  virtual std::vector<DeviceRow> on_device() const { return {}; }
  // The tokens that it chose (they may be a ChoiceError).
  virtual Chosen take(std::span<const int32_t> tokens);
  // Nobody wants this output any more: the present sequences that go on without it. Empty when none
  // does; all when it is not known yet which they are.
  virtual std::vector<int32_t> drop(int32_t output) = 0;
};

// Error when the request's parameters do not hold.
std::unique_ptr<Choice> make_choice(const ExecutorRequest& request, int64_t vocab_size);

}  // namespace tokamak

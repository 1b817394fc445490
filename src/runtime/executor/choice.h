// How one request turns logits into tokens: the one place that knows of sampling. The executor asks
// it whenever the model has computed the request's next logits.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device_choice.h"
#include "runtime/session.h"
#include "tokamak/executor.h"

namespace tokamak {

// A sequence that goes on: the history of the present sequence `parent`, and one token more.
struct Branch {
  int32_t parent = 0;
  int32_t token = 0;
};

// What became known of one of the request's outputs.
struct OutputNews {
  std::optional<int32_t> token = {};
  std::optional<TokenLogprobs> logprobs = {};
  std::string finish_reason = {};  // when this is its end: "stop" or "length"
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

  // What a device with a sampler of its own needs to choose in its place, a row for each sequence;
  // empty: the logits must come here.
  virtual std::vector<DeviceRow> on_device() const { return {}; }
  // The tokens that it chose (they may be a ChoiceError).
  virtual Chosen take(std::span<const int32_t> tokens);
};

// Error when the request's parameters do not hold.
std::unique_ptr<Choice> make_choice(const ExecutorRequest& request, int64_t vocab_size);

}  // namespace tokamak

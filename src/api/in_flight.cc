#include "api/in_flight.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "api/text_stream.h"
#include "base/error.h"
#include "runtime/session.h"

namespace tokamak {
namespace {

using Clock = std::chrono::steady_clock;

struct Output {
  Completion completion;
  std::optional<TextStream> text;
  uint64_t id = 0;
  bool ended = false, cancelled = false;
};

// Events come one after the other, from one thread.
class InFlight {
 public:
  InFlight(Session& session, const ExecutorOptions& options, const StreamCallback& stream)
      : stream_(stream), executor_(std::make_unique<Executor>(session, options)) {}

  std::vector<Completion> run(const Tokenizer* tokenizer, std::vector<ExecutorRequest> requests) {
    for (const ExecutorRequest& r : requests) {
      for (int64_t i = 0; i < r.params.n; ++i) {
        Output& o = outputs_.emplace_back();
        o.completion.prompt_tokens = r.tokens;
        if (tokenizer)
          o.text.emplace(*tokenizer, r.params.stop);
        else if (!r.params.stop.empty())
          fail("the model has no tokenizer: stop strings cannot be found");
      }
    }
    left_ = outputs_.size();
    for (size_t r = 0, first = 0; r < requests.size(); ++r) {
      const auto n = static_cast<size_t>(requests[r].params.n);
      executor_->enqueue(std::move(requests[r]), [this, first](const ExecutorEvent& e) {
        std::lock_guard lock(mutex_);
        take(first + static_cast<size_t>(e.output), e);
      });
      first += n;
    }
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return left_ == 0; });
    lock.unlock();
    executor_.reset();
    if (!error_.empty()) fail("{}", error_);
    std::vector<Completion> done;
    for (Output& o : outputs_) done.push_back(std::move(o.completion));
    return done;
  }

 private:
  void take(size_t index, const ExecutorEvent& e) {
    Output& o = outputs_[index];
    if (o.ended) return;
    std::string text;
    if (e.token) {
      Completion& c = o.completion;
      c.tokens.push_back(*e.token);
      c.total_s = std::chrono::duration<double>(Clock::now() - start_).count();
      if (c.tokens.size() == 1) c.first_token_s = c.total_s;
      if (e.logprobs) c.logprobs.push_back(*e.logprobs);
      if (e.logits) c.logits.push_back(*e.logits);
      if (o.text && e.finish_reason != "stop") text = o.text->push(*e.token);
    }
    if (stream_ && !text.empty() && !stream_(index, text)) o.cancelled = true;
    const bool stopped = o.text && o.text->stopped();
    if (!e.last() && !stopped && !o.cancelled) return;
    if (!e.last()) executor_->cancel(e.id, e.output);
    if (!e.error.empty()) error_ = e.error;
    o.completion.score = e.score;
    o.completion.finish_reason = o.cancelled ? "cancelled" : stopped ? "stop" : e.finish_reason;
    end(index, o);
  }

  void end(size_t index, Output& o) {
    o.ended = true;
    if (o.text) {
      const std::string rest = o.text->finish();
      if (stream_ && !rest.empty() && !o.cancelled) stream_(index, rest);
      o.completion.text = o.text->text();
    }
    if (--left_ == 0) over_.notify_all();
  }

  const StreamCallback& stream_;
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable over_;
  std::vector<Output> outputs_;
  size_t left_ = 0;
  std::string error_;
  std::unique_ptr<Executor> executor_;  // ends first
};

}  // namespace

std::vector<Completion> generate_in_flight(Session& session, bool fixed_cache,
                                           const Tokenizer* tokenizer,
                                           std::vector<ExecutorRequest> requests,
                                           const StreamCallback& stream) {
  ExecutorOptions options;
  int64_t tokens = 0, sequences = 0;
  for (const ExecutorRequest& r : requests) {
    const int64_t width = r.params.width();
    tokens += width * (static_cast<int64_t>(r.tokens.size()) + r.params.max_tokens);
    sequences += width;
  }
  options.max_batch_size = std::min(session.max_num_tokens(),
                                    std::max(session.config().limits.max_batch_size, sequences));
  if (!fixed_cache && session.backend().in_host_memory()) session.reserve(tokens, sequences);
  return InFlight(session, options, stream).run(tokenizer, std::move(requests));
}

}  // namespace tokamak

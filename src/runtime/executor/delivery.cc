#include "runtime/executor/delivery.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace tokamak {

Delivery::Delivery() : thread_([this] { run(); }) {}

Delivery::~Delivery() {
  {
    std::lock_guard lock(mutex_);
    ends_ = true;
  }
  ready_.notify_all();
}

void Delivery::post(const ExecutorCallback& callback, ExecutorEvent event) {
  {
    std::lock_guard lock(mutex_);
    items_.push_back({callback, std::move(event)});
  }
  ready_.notify_one();
}

void Delivery::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    ready_.wait(lock, [this] { return ends_ || !items_.empty(); });
    if (items_.empty()) return;
    const std::deque<Item> batch = std::exchange(items_, {});
    lock.unlock();
    for (const Item& item : batch) {
      try {
        item.callback(item.event);
      } catch (const std::exception& e) {
        log::error("a callback of request {} failed: {}", item.event.id, e.what());
      }
    }
    lock.lock();
  }
}

void Results::open(uint64_t id, int64_t outputs) {
  std::lock_guard lock(mutex_);
  Pending& p = results_[id];
  p.open = outputs;
  p.result.others.resize(static_cast<size_t>(outputs) - 1);
}

void Results::add(const ExecutorEvent& e) {
  std::lock_guard lock(mutex_);
  const auto it = results_.find(e.id);
  if (it == results_.end()) return;
  ExecutorResult& r = it->second.result;
  ExecutorOutput& o = e.output == 0 ? r : r.others.at(static_cast<size_t>(e.output) - 1);
  if (e.token) o.tokens.push_back(*e.token);
  if (e.logprobs) o.logprobs.push_back(*e.logprobs);
  if (e.logits) o.logits.push_back(e.logits);
  if (!e.prompt_logprobs.empty()) r.prompt_logprobs = e.prompt_logprobs;
  if (!e.embedding.empty()) r.embedding = e.embedding;
  if (e.context_logits) r.context_logits = e.context_logits;
  r.reused_tokens = std::max(r.reused_tokens, e.reused_tokens);
  if (!e.last()) return;
  o.error = e.error;
  o.finish_reason = e.finish_reason;
  o.score = e.score;
  if (--it->second.open == 0) ready_.notify_all();
}

ExecutorResult Results::await(uint64_t id) {
  std::unique_lock lock(mutex_);
  const auto it = results_.find(id);
  if (it == results_.end()) fail("there is no request {} to wait for", id);
  ready_.wait(lock, [&] { return it->second.open == 0; });
  ExecutorResult r = std::move(it->second.result);
  results_.erase(it);
  return r;
}

}  // namespace tokamak

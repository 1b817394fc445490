#include "runtime/executor/delivery.h"

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

void Results::open(uint64_t id) {
  std::lock_guard lock(mutex_);
  results_[id] = {};
}

void Results::add(const ExecutorEvent& e) {
  std::lock_guard lock(mutex_);
  const auto it = results_.find(e.id);
  if (it == results_.end()) return;
  ExecutorResult& r = it->second;
  if (e.token) r.tokens.push_back(*e.token);
  if (e.logprobs) r.logprobs.push_back(*e.logprobs);
  if (!e.prompt_logprobs.empty()) r.prompt_logprobs = e.prompt_logprobs;
  if (!e.embedding.empty()) r.embedding = e.embedding;
  if (r.tokens.size() == 1) r.reused_tokens = e.reused_tokens;
  r.error = e.error;
  r.finish_reason = e.finish_reason;
  if (e.last()) ready_.notify_all();
}

ExecutorResult Results::await(uint64_t id) {
  std::unique_lock lock(mutex_);
  const auto it = results_.find(id);
  if (it == results_.end()) fail("there is no request {} to wait for", id);
  ready_.wait(lock, [&] { return !it->second.finish_reason.empty(); });
  ExecutorResult r = std::move(it->second);
  results_.erase(it);
  return r;
}

}  // namespace tokamak

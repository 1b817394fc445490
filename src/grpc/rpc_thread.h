// The thread of one remote call, as the place where its generations live.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "serve/http.h"

namespace tokamak::serve {

// Work that others post runs on the thread that is in run().
class RpcThread {
 public:
  void post(std::function<void()> work) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return;
      work_.push_back(std::move(work));
    }
    ready_.notify_one();
  }
  // Runs once when the client goes, unless it is forgotten before.
  void on_gone(const void* who, std::function<void()> f) {
    std::lock_guard lock(mutex_);
    gone_[who] = std::move(f);
  }
  void forget(const void* who) {
    std::lock_guard lock(mutex_);
    gone_.erase(who);
  }

  // Until done() holds; when the client goes (is_gone) its generations are told, and it returns.
  // What is posted after that is dropped.
  template <typename Done, typename IsGone>
  void run(Done done, IsGone is_gone) {
    work_until(done, is_gone);
    std::unique_lock lock(mutex_);
    closed_ = true;
    const auto left = std::exchange(work_, {});  // it holds generations, which hold this
    lock.unlock();
  }

 private:
  template <typename Done, typename IsGone>
  void work_until(Done done, IsGone is_gone) {
    while (!done()) {
      std::unique_lock lock(mutex_);
      ready_.wait_for(lock, std::chrono::milliseconds(20), [this] { return !work_.empty(); });
      std::deque<std::function<void()>> work = std::exchange(work_, {});
      lock.unlock();
      for (auto& w : work) w();
      if (!is_gone()) continue;
      lock.lock();
      const auto gone = std::exchange(gone_, {});
      lock.unlock();
      for (auto& [who, f] : gone) f();
      return;
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> work_;
  std::map<const void*, std::function<void()>> gone_;
  bool closed_ = false;
};

// One request's place on such a thread. Nothing is sent through it.
class RpcReply final : public Reply {
 public:
  explicit RpcReply(std::shared_ptr<RpcThread> thread) : thread_(std::move(thread)) {}
  ~RpcReply() override { thread_->forget(this); }
  void post(std::function<void()> work) override { thread_->post(std::move(work)); }
  void on_gone(std::function<void()> f) override { thread_->on_gone(this, std::move(f)); }
  void send(int, std::string_view, std::string, Headers) override {}
  void begin(int, std::string_view, Headers) override {}
  void write(std::string) override {}
  void end() override {}

 private:
  const std::shared_ptr<RpcThread> thread_;
};

}  // namespace tokamak::serve

// The thread of one remote call, as the place where its generations live.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "serve/http.h"

namespace tokamak::serve {

// Work that others post runs on the thread that is in run(). Nothing is sent through it.
class RpcThread final : public Reply {
 public:
  void post(std::function<void()> work) override {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return;
      work_.push_back(std::move(work));
    }
    ready_.notify_one();
  }
  void on_gone(std::function<void()> f) override { gone_.push_back(std::move(f)); }
  void send(int, std::string_view, std::string, Headers) override {}
  void begin(int, std::string_view, Headers) override {}
  void write(std::string) override {}
  void end() override {}

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
      for (auto& f : gone_) f();
      return;
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> work_;
  std::vector<std::function<void()>> gone_;
  bool closed_ = false;
};

}  // namespace tokamak::serve

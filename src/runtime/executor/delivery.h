// Brings events to their callbacks, in order, on a thread that runs no steps.
#pragma once
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "tokamak/executor.h"

namespace tokamak {

class Delivery {
 public:
  Delivery();
  ~Delivery();  // after everything has been delivered
  Delivery(const Delivery&) = delete;

  void post(const ExecutorCallback& callback, ExecutorEvent event);

 private:
  struct Item {
    ExecutorCallback callback;
    ExecutorEvent event;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Item> items_;
  bool ends_ = false;
  std::jthread thread_;
};

// What requests without a callback have come to, for await().
class Results {
 public:
  void open(uint64_t id, int64_t outputs);
  void add(const ExecutorEvent& event);
  ExecutorResult await(uint64_t id);

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  struct Pending {
    int64_t open = 1;  // outputs that have not ended
    ExecutorResult result;
  };
  std::map<uint64_t, Pending> results_;
};

}  // namespace tokamak

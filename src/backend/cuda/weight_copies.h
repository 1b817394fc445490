// Copies weights from host memory beside a step's launches, on a stream of their own: each as soon
// as its place in the ring is free. What it enqueues can be recorded.
#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace tokamak {

class WeightCopies {
 public:
  // Around the launches of one list, all enqueued on `stream` in their order.
  void begin(std::span<const BoundLaunch> launches, cudaStream_t stream);
  void before(const BoundLaunch& launch);
  void after(const BoundLaunch& launch);

 private:
  struct Event {
    Event();
    ~Event() { cudaEventDestroy(event); }
    Event(const Event&) = delete;
    cudaEvent_t event = nullptr;
  };
  struct Stream {
    Stream();
    ~Stream() { cudaStreamDestroy(stream); }
    Stream(const Stream&) = delete;
    cudaStream_t stream = nullptr;
  };
  // The copies of one launch.
  struct Use {
    const BoundLaunch* launch = nullptr;
    int after = -1;  // the last use before it whose place is overwritten; -1: none
  };
  static bool meet(const BoundLaunch& a, const BoundLaunch& b);
  void copy_what_can();

  cudaStream_t stream_ = nullptr;
  std::unique_ptr<Stream> copies_;
  std::unique_ptr<Event> begun_;
  std::vector<std::unique_ptr<Event>> copied_, used_;  // per use
  std::vector<Use> uses_;
  int copying_ = 0, done_ = 0;  // uses whose copies are enqueued; whose launches are
};

}  // namespace tokamak

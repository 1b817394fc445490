#include "backend/cuda/weight_copies.h"

#include <algorithm>

#include "backend/cuda/check.h"
#include "backend/cuda/kernels/gate.h"

namespace tokamak {

WeightCopies::Event::Event() {
  TOKAMAK_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
}

WeightCopies::Stream::Stream() {
  TOKAMAK_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
}

bool WeightCopies::meet(const BoundLaunch& a, const BoundLaunch& b) {
  return std::ranges::any_of(a.copies, [&](const WeightCopy& x) {
    return std::ranges::any_of(b.copies, [&](const WeightCopy& y) {
      return x.to < y.to + y.bytes && y.to < x.to + x.bytes;
    });
  });
}

void WeightCopies::begin(std::span<const BoundLaunch> launches, cudaStream_t stream) {
  uses_.clear();
  copying_ = done_ = 0;
  stream_ = stream;
  for (const BoundLaunch& l : launches) {
    if (l.copies.empty()) continue;
    Use use{&l};
    for (int i = static_cast<int>(uses_.size()) - 1; i >= 0 && use.after < 0; --i)
      if (meet(*uses_[static_cast<size_t>(i)].launch, l)) use.after = i;
    uses_.push_back(use);
  }
  if (uses_.empty()) return;
  if (!copies_) {
    copies_ = std::make_unique<Stream>();
    begun_ = std::make_unique<Event>();
  }
  while (used_.size() < uses_.size()) {
    copied_.push_back(std::make_unique<Event>());
    used_.push_back(std::make_unique<Event>());
  }
  // What the stream does before may still read the ring.
  TOKAMAK_CUDA(cudaEventRecord(begun_->event, stream_));
  TOKAMAK_CUDA(cudaStreamWaitEvent(copies_->stream, begun_->event, 0));
  copy_what_can();
}

void WeightCopies::copy_what_can() {
  for (; copying_ < static_cast<int>(uses_.size()); ++copying_) {
    const auto i = static_cast<size_t>(copying_);
    if (uses_[i].after >= done_) return;
    if (uses_[i].after >= 0)
      TOKAMAK_CUDA(cudaStreamWaitEvent(copies_->stream,
                                       used_[static_cast<size_t>(uses_[i].after)]->event, 0));
    for (const WeightCopy& c : uses_[i].launch->copies)
      TOKAMAK_CUDA(cudaMemcpyAsync(c.to, c.from, c.bytes, cudaMemcpyHostToDevice, copies_->stream));
    TOKAMAK_CUDA(cudaEventRecord(copied_[i]->event, copies_->stream));
  }
}

// Kernels fetch weights before the kernel ahead has ended, so the wait has a kernel of its own.
void WeightCopies::before(const BoundLaunch& launch) {
  if (launch.copies.empty()) return;
  TOKAMAK_ASSERT(done_ < copying_);
  TOKAMAK_CUDA(cudaStreamWaitEvent(stream_, copied_[static_cast<size_t>(done_)]->event, 0));
  cuda::pass_gate(stream_);
}

void WeightCopies::after(const BoundLaunch& launch) {
  if (launch.copies.empty()) return;
  TOKAMAK_CUDA(cudaEventRecord(used_[static_cast<size_t>(done_)]->event, stream_));
  ++done_;
  copy_what_can();
}

}  // namespace tokamak

#include "backend/cuda/upload.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "backend/cuda/check.h"

namespace tokamak {
namespace {

constexpr int kThreads = 16, kSlots = 2;

// One thread's pinned memory: a slot is written while the other is on its way.
class Conveyor {
 public:
  explicit Conveyor(size_t slot_bytes) : bytes_(slot_bytes) {
    TOKAMAK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    for (cudaEvent_t& e : gone_) TOKAMAK_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    TOKAMAK_CUDA(cudaHostAlloc(&pinned_, kSlots * slot_bytes, cudaHostAllocDefault));
  }
  ~Conveyor() {
    if (stream_) cudaStreamSynchronize(stream_);
    cudaFreeHost(pinned_);
    for (cudaEvent_t e : gone_) cudaEventDestroy(e);
    if (stream_) cudaStreamDestroy(stream_);
  }
  Conveyor(const Conveyor&) = delete;

  std::byte* next_slot() {
    turn_ = (turn_ + 1) % kSlots;
    TOKAMAK_CUDA(cudaEventSynchronize(gone_[turn_]));
    return static_cast<std::byte*>(pinned_) + static_cast<size_t>(turn_) * bytes_;
  }
  void send(const Backend::Piece& piece, const std::byte* slot) {
    TOKAMAK_CUDA(cudaMemcpyAsync(piece.device, slot, piece.bytes, cudaMemcpyHostToDevice, stream_));
    TOKAMAK_CUDA(cudaEventRecord(gone_[turn_], stream_));
  }
  void finish() { TOKAMAK_CUDA(cudaStreamSynchronize(stream_)); }

 private:
  const size_t bytes_;
  cudaStream_t stream_ = nullptr;
  std::array<cudaEvent_t, kSlots> gone_{};
  void* pinned_ = nullptr;
  size_t turn_ = 0;
};

}  // namespace

void run_on_threads(int n, const std::function<void(int)>& fn) {
  std::exception_ptr error;
  std::mutex mutex;
  const auto guarded = [&](int i) {
    try {
      fn(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 1; i < n; ++i) threads.emplace_back(guarded, i);
    guarded(0);
  }
  if (error) std::rethrow_exception(error);
}

void upload_pieces(int device, std::span<const Backend::Piece> pieces,
                   const std::function<void(size_t, std::byte*)>& write) {
  if (pieces.empty()) return;
  size_t largest = 1;
  for (const Backend::Piece& p : pieces) largest = std::max(largest, p.bytes);
  const int here = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int threads = std::min({kThreads, here, static_cast<int>(pieces.size())});
  std::atomic<size_t> next{0};
  run_on_threads(threads, [&](int) {
    TOKAMAK_CUDA(cudaSetDevice(device));
    Conveyor conveyor(largest);
    for (size_t i = next++; i < pieces.size(); i = next++) {
      std::byte* slot = conveyor.next_slot();
      write(i, slot);
      conveyor.send(pieces[i], slot);
    }
    conveyor.finish();
  });
}

}  // namespace tokamak

// Bounds of one rendering: live memory, steps, and the line that errors name.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"

namespace tokamak::jinja {

// A failure while a template runs; the caller of the evaluator adds the line.
struct Failure {
  std::string message;
};

template <typename... Args>
[[noreturn]] void raise(fmt::format_string<Args...> format, Args&&... args) {
  throw Failure{fmt::format(format, std::forward<Args>(args)...)};
}

class Heap {
 public:
  explicit Heap(size_t max_bytes = SIZE_MAX, size_t max_steps = SIZE_MAX)
      : max_bytes_(max_bytes), max_steps_(max_steps) {}
  Heap(const Heap&) = delete;

  void take(size_t bytes) {
    if (bytes > max_bytes_ - live_bytes_)
      raise("the template needs more than {} bytes", max_bytes_);
    live_bytes_ += bytes;
  }
  void give(size_t bytes) noexcept { live_bytes_ -= bytes; }
  // Counts work; `units` for loops inside one operation.
  void tick(size_t units = 1) {
    if (units > max_steps_ - steps_) raise("the template takes more than {} steps", max_steps_);
    steps_ += units;
  }
  // Refuses a result of `count` items of `size` bytes before it is made.
  void check_size(size_t count, size_t size) const {
    if (size != 0 && count > max_bytes_ / size)
      raise("a value of {} x {} bytes is too large", count, size);
  }

 private:
  size_t max_bytes_, max_steps_;
  size_t live_bytes_ = 0, steps_ = 0;
};

}  // namespace tokamak::jinja

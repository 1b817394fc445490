// The step allocates nothing once it is warm: every operator new of the program is counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "runtime/session.h"
#include "runtime/tiny_model.h"

namespace {
std::atomic<int64_t> allocations{0};
}

void* operator new(size_t n) {
  ++allocations;
  if (void* p = std::malloc(n ? n : 1)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace tokamak {
namespace {

TEST(Allocation, WarmStepsAllocateNothing) {
  const auto backend = make_backend("cpu", 2);
  const testing::TempDir folder;
  BuildOptions options;
  options.tuning = false;
  const auto engine = testing::build_tiny(folder.path(), *backend, options);
  Session session(engine, *backend);
  std::vector<SequenceInput> inputs;
  const std::vector<int32_t> prompt = {1, 2, 3, 4, 5, 6, 7}, next = {8};
  for (int i = 0; i < 3; ++i) inputs.push_back({session.add_sequence(), prompt});
  session.reserve(3 * 200, 3);
  session.step(inputs);
  for (SequenceInput& in : inputs) in.tokens = next;
  session.step(inputs);
  const int64_t before = allocations;
  for (int i = 0; i < 150; ++i) session.step(inputs);
  EXPECT_EQ(allocations - before, 0);
}

}  // namespace
}  // namespace tokamak

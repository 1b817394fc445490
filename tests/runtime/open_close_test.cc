// Opening and closing engines leaves nothing behind: no memory, file, thread or mapping.
// TOKAMAK_TEST_OPENS=10000 does it more often, TOKAMAK_TEST_ENGINE=DIR with another engine. With
// GLIBC_TUNABLES=glibc.malloc.tcache_count=0, as ctest runs it, the heap is exact to the byte.
#include <gtest/gtest.h>
#include <malloc.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "runtime/session.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnAllocator = false;  // a sanitizer's, which keeps what was freed
#else
constexpr bool kOwnAllocator = true;
#endif

int64_t status_field(const std::string& field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(field)) return std::atoll(line.c_str() + field.size());
  ADD_FAILURE() << "no " << field << " in /proc/self/status";
  return 0;
}

// What the heap may grow by: nothing, but for what the allocator keeps in its threads' caches.
int64_t heap_slack() {
  const char* tunables = std::getenv("GLIBC_TUNABLES");
  const bool exact = tunables && std::strstr(tunables, "tcache_count=0");
  return exact ? 0 : 256 << 10;
}

struct Holdings {
  int64_t resident_kib, heap_bytes, files, threads, mappings;
};

Holdings holdings() {
  Holdings h{};
  ::malloc_trim(0);
  h.resident_kib = status_field("VmRSS:");
  h.threads = status_field("Threads:");
  h.heap_bytes = static_cast<int64_t>(::mallinfo2().uordblks);
  for ([[maybe_unused]] const auto& file : fs::directory_iterator("/proc/self/fd")) ++h.files;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++h.mappings;
  return h;
}

void open_step_close(const fs::path& engine, bool copy) {
  const auto backend = make_backend("cpu", 2);
  Session session(engine, *backend, {.copy_weights = copy});
  const std::vector<int32_t> prompt = {1, 5, 9, 2};
  const SequenceInput input{session.add_sequence(), prompt};
  ASSERT_EQ(session.step({&input, 1}).rows, 1);
}

// Refused after the file was mapped, which must be given back as well.
void open_refused(const fs::path& engine) {
  const auto backend = make_backend("cpu", 1);
  EXPECT_THROW(Session(engine, *backend), Error);
}

TEST(OpenClose, LeavesNothingBehind) {
  const testing::TempDir folder;
  const char* given = std::getenv("TOKAMAK_TEST_ENGINE");
  const char* count = std::getenv("TOKAMAK_TEST_OPENS");
  const int opens = count ? std::atoi(count) : 300;
  fs::path engine = given ? given : "";
  if (!given) {
    BuildOptions o;
    o.tuning = false;
    engine = testing::build_tiny(folder.path(), *make_backend("cpu", 2), o);
  }
  const fs::path broken = folder.path() / "broken";
  fs::create_directory(broken);
  fs::copy_file(engine / "config.json", broken / "config.json");
  fs::copy_file(engine / "rank0.engine", broken / "rank0.engine");
  fs::resize_file(broken / "rank0.engine", fs::file_size(broken / "rank0.engine") - 64);

  const auto once = [&](int i) {
    open_step_close(engine, i % 2 == 1);
    if (i % 10 == 0) open_refused(broken);
  };
  for (int i = 0; i < 50; ++i) once(i);
  const Holdings before = holdings();
  for (int i = 0; i < opens; ++i) once(i);
  const Holdings after = holdings();
  std::printf("%d opens: resident %+ld KiB, heap %+ld bytes, files %+ld, threads %+ld, maps %+ld\n",
              opens, after.resident_kib - before.resident_kib, after.heap_bytes - before.heap_bytes,
              after.files - before.files, after.threads - before.threads,
              after.mappings - before.mappings);
  EXPECT_EQ(after.files, before.files);
  EXPECT_EQ(after.threads, before.threads);
  if (!kOwnAllocator) return;
  EXPECT_LE(after.heap_bytes - before.heap_bytes, heap_slack());
  EXPECT_LT(after.resident_kib - before.resident_kib, 1024);
  EXPECT_LE(after.mappings - before.mappings, 8);  // the allocator's arenas come and go
}

}  // namespace
}  // namespace tokamak

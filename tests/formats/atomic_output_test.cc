#include "formats/atomic_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "base/json.h"
#include "formats/temp_dir.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

size_t entries(const fs::path& dir) {
  return static_cast<size_t>(std::distance(fs::directory_iterator(dir), fs::directory_iterator()));
}

TEST(AtomicDirectory, AppearsWholeOnCommit) {
  const TempDir dir;
  {
    AtomicDirectory d(dir / "out", false);
    write_file(d.path() / "a", "1");
    EXPECT_FALSE(fs::exists(dir / "out"));
    d.commit();
  }
  EXPECT_EQ(read_text(dir / "out/a"), "1");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(AtomicDirectory, LeavesNothingOnException) {
  const TempDir dir;
  EXPECT_EQ(error_of([&] {
              AtomicDirectory d(dir / "out", false);
              write_file(d.path() / "a", "1");
              fail("stop");
            }),
            "stop");
  EXPECT_EQ(entries(dir.path()), 0u);
}

TEST(AtomicDirectory, RefusesWhatExistsUnlessOverwriteIsAsked) {
  const TempDir dir;
  fs::create_directory(dir / "out");
  { AtomicDirectory(dir / "out", false).commit(); }  // an empty directory is fine
  dir.write("out/old", "old");
  EXPECT_THAT(error_of([&] { AtomicDirectory d(dir / "out", false); }), HasSubstr("--overwrite"));
  EXPECT_EQ(read_text(dir / "out/old"), "old");
  {
    AtomicDirectory d(dir / "out/", true);
    write_file(d.path() / "new", "new");
    EXPECT_EQ(read_text(dir / "out/old"), "old");
    d.commit();
  }
  EXPECT_FALSE(fs::exists(dir / "out/old"));
  EXPECT_EQ(read_text(dir / "out/new"), "new");
  EXPECT_EQ(entries(dir.path()), 1u);
  dir.write("file", "");
  EXPECT_THAT(error_of([&] { AtomicDirectory d(dir / "file", true); }),
              HasSubstr("not a directory"));
}

TEST(AtomicDirectory, RemovesWhatAKilledRunLeft) {
  const TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicDirectory d(dir / "out", false);
    write_file(d.path() / "a", "1");
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(entries(dir.path()), 1u);
  { AtomicDirectory(dir / "out", false).commit(); }
  EXPECT_EQ(entries(dir.path()), 1u);
  EXPECT_TRUE(fs::is_empty(dir / "out"));
}

// Runs `work` in a child and sends `signal` after `delay_us`; returns how the child ended.
template <typename Work>
int interrupted_child(int signal, int delay_us, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
      ::_exit(0);
    } catch (const Interrupted&) {
      ::_exit(130);
    } catch (...) {
      ::_exit(1);
    }
  }
  ::usleep(static_cast<useconds_t>(delay_us));
  ::kill(child, signal);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(AtomicDirectory, InterruptAtAnyMomentLeavesAllOrNothing) {
  const TempDir dir;
  std::mt19937 rng(11);
  int complete = 0, absent = 0;
  for (int i = 0; i < 120; ++i) {
    const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    const int signal = signals[i % 3];
    const int delay = std::uniform_int_distribution<int>(0, 4000)(rng);
    const int status = interrupted_child(signal, delay, [&] {
      AtomicDirectory d(dir / "out", true);
      const std::string part(1 << 16, 'x');
      for (int f = 0; f < 8; ++f) write_file(d.path() / std::to_string(f), part);
      d.commit();
    });
    if (fs::exists(dir / "out")) {
      ++complete;
      ASSERT_EQ(entries(dir / "out"), 8u) << "status " << status;
      for (int f = 0; f < 8; ++f)
        ASSERT_EQ(fs::file_size(dir / "out" / std::to_string(f)), 1u << 16);
    } else {
      ++absent;
      ASSERT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      if (WIFEXITED(status)) {  // it cleaned up
        ASSERT_EQ(entries(dir.path()), 0u);
      }
    }
    for (const auto& e : fs::directory_iterator(dir.path())) fs::remove_all(e.path());
  }
  EXPECT_GT(absent, 0);
  RecordProperty("complete", complete);
}

TEST(AtomicFile, ReplacesOnlyOnCommit) {
  const TempDir dir;
  dir.write("f", "old");
  {
    AtomicFile f(dir / "f");
    f.append("new");
  }
  EXPECT_EQ(read_text(dir / "f"), "old");
  {
    AtomicFile f(dir / "f");
    f.append("new");
    f.commit();
  }
  EXPECT_EQ(read_text(dir / "f"), "new");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(AtomicFile, FileSizeLimitIsAnError) {
  const TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of([&] {
      AtomicFile f(dir / "f");
      f.append(std::string(100000, 'x'));
      f.commit();
    });
    ::_exit(message.find("file size limit") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(entries(dir.path()), 0u);
}

// In a child with a disk of 64 KiB of its own. 77: this system allows no such mount.
int fill_small_disk(const fs::path& mount_point) {
  if (::unshare(CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) return 77;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
  if (::mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=64k") != 0) return 77;
  const std::string message = error_of([&] {
    AtomicDirectory d(mount_point / "out", false);
    write_file(d.path() / "f", std::string(1 << 20, 'x'));
    d.commit();
  });
  if (message.find("the disk is full") == std::string::npos) return 1;
  return fs::is_empty(mount_point) ? 0 : 2;
}

TEST(AtomicDirectory, FullDiskIsNamedAndLeavesNothing) {
  const TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(fill_small_disk(dir.path()));
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no mount namespaces here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(AtomicFile, RefusesADirectory) {
  const TempDir dir;
  EXPECT_THAT(error_of([&] { AtomicFile f(dir.path()); }), HasSubstr("is a directory"));
}

}  // namespace
}  // namespace tokamak

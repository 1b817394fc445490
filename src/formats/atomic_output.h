// Output that is either there whole or not there at all. Files and directories are written under a
// temporary name beside the target (".NAME.tokamak-PID"), synced and renamed. The temporary goes
// away on an exception and on SIGINT/SIGTERM; what a killed run left is removed by the next one.
#pragma once
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace tokamak {

// The user pressed Ctrl-C or the process was asked to end; commands exit with code 130.
class Interrupted : public Error {
 public:
  Interrupted() : Error("interrupted; nothing was written") {}
};

// While one lives, the first SIGINT/SIGTERM only sets a flag (a second one ends the process), and a
// write beyond the file size limit is an error instead of a signal.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
};
// Throws Interrupted when a signal came. Called by every write below and between units of work.
void throw_if_interrupted();

class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  // Threads may write different parts at the same time. Errors say "disk full" where that is why.
  void write_at(size_t offset, std::span<const std::byte> data);
  void append(std::span<const std::byte> data);
  void append(std::string_view text);
  void resize(size_t bytes);
  size_t size() const { return size_; }
  // Syncs and renames to the target, replacing what was there.
  void commit();

 private:
  InterruptGuard guard_;
  std::filesystem::path target_, temporary_;
  int fd_ = -1;
  size_t size_ = 0;  // end of what append() wrote
};

class AtomicDirectory {
 public:
  // Refuses an existing target that is not an empty directory, unless overwrite was asked for.
  AtomicDirectory(std::filesystem::path target, bool overwrite);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  // Where to write the contents until commit().
  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  InterruptGuard guard_;
  std::filesystem::path target_, temporary_;
  bool committed_ = false;
};

// A file in one go, from its parts in order.
void write_file(const std::filesystem::path& path, std::string_view text,
                std::span<const std::byte> more = {});
// The same where the path may also be a pipe or a device (/dev/stdout), which is written directly.
void write_output(const std::filesystem::path& path, std::string_view text,
                  std::span<const std::byte> more = {});

}  // namespace tokamak

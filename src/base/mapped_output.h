// A large file that is filled through a shared mapping, its disk space reserved first. It appears
// whole or not at all: written beside its target as ".NAME.tmp-PID", renamed by commit().
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace tokamak {

class MappedOutput {
 public:
  explicit MappedOutput(const std::filesystem::path& target);
  ~MappedOutput();
  MappedOutput(const MappedOutput&) = delete;

  // All throw Error naming the target and the system's reason (disk full, no permission …).
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  // Sets the size and reserves the disk space, so that later writes through map() cannot fail.
  void reserve(uint64_t size);
  // Writable shared mapping of the whole reserved file; valid until commit().
  std::span<std::byte> map();
  // Written pages of the mapping need not stay in memory; flushes them to the page cache's file.
  void release(std::span<std::byte> part);
  void commit();

  const std::filesystem::path& target() const { return target_; }

 private:
  std::filesystem::path target_, temporary_;
  int fd_ = -1;
  uint64_t reserved_ = 0;
  std::byte* mapping_ = nullptr;
  void unmap();
};

}  // namespace tokamak

// A file that appears whole or not at all: written beside its target as ".NAME.tmp-PID", renamed by
// commit(). Destroyed without commit, the temporary file is removed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace tokamak {

class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;

  // All throw Error naming the target and the system's reason (disk full, no permission …).
  void write(std::span<const std::byte> bytes);  // at the end
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
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
  uint64_t position_ = 0, reserved_ = 0;
  std::byte* mapping_ = nullptr;
  void unmap();
};

void write_file_atomically(const std::filesystem::path& target, std::string_view text);

}  // namespace tokamak

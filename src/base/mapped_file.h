// A file mapped read-only. Parsers never trust an offset: slice() checks bounds and names the file.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace tokamak {

class MappedFile {
 public:
  // Throws Error naming the path and the system's reason.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& o) noexcept;
  MappedFile& operator=(MappedFile&& o) noexcept;
  MappedFile(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  size_t size() const { return size_; }
  const std::byte* data() const { return data_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Bytes [offset, offset + length); throws Error when it leaves the file.
  std::span<const std::byte> slice(size_t offset, size_t length, const char* what) const;

  // Tells the kernel that these pages are wanted soon, or not needed in memory any more
  // (streaming commands call release() after each tensor, so that their peak stays small).
  void will_need(std::span<const std::byte> part) const;
  void release(std::span<const std::byte> part) const;
  // Copies a part of bytes() by reading the file: for large parts faster than through the mapping,
  // whose pages it leaves alone. Throws Error when the file has become shorter.
  void copy(std::span<const std::byte> part, std::byte* to) const;

 private:
  std::filesystem::path path_;
  int file_ = -1;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tokamak

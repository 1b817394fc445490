#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace tokamak {
namespace {

constexpr size_t kPage = 4096;

// The whole pages inside [part): releasing a shared border page would only cost a re-read.
std::pair<std::byte*, size_t> whole_pages(std::span<const std::byte> part) {
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + kPage - 1) / kPage * kPage;
  const auto end = (reinterpret_cast<uintptr_t>(part.data()) + part.size()) / kPage * kPage;
  return {reinterpret_cast<std::byte*>(begin), end > begin ? end - begin : 0};
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot open '{}': {}", path.string(), std::strerror(errno));
  struct stat st {};
  if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(fd);
    fail("'{}' is not a regular file", path.string());
  }
  size_ = static_cast<size_t>(st.st_size);
  if (size_ > 0) {
    void* p = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    const int error = errno;
    ::close(fd);
    if (p == MAP_FAILED) fail("cannot map '{}': {}", path.string(), std::strerror(error));
    data_ = static_cast<const std::byte*>(p);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& o) noexcept
    : path_(std::move(o.path_)),
      data_(std::exchange(o.data_, nullptr)),
      size_(std::exchange(o.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& o) noexcept {
  std::swap(path_, o.path_);
  std::swap(data_, o.data_);
  std::swap(size_, o.size_);
  return *this;
}

std::span<const std::byte> MappedFile::slice(size_t offset, size_t length, const char* what) const {
  if (offset > size_ || length > size_ - offset)
    fail("'{}': {} needs bytes {} to {}, but the file has {} (truncated?)", path_.string(), what,
         offset, offset + length, size_);
  return {data_ + offset, length};
}

void MappedFile::will_need(std::span<const std::byte> part) const {
  if (const auto [p, n] = whole_pages(part); n) ::madvise(p, n, MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (const auto [p, n] = whole_pages(part); n) ::madvise(p, n, MADV_DONTNEED);
}

}  // namespace tokamak

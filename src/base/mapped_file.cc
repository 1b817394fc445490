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
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) fail("cannot open '{}': {}", path.string(), std::strerror(errno));
  struct stat st {};
  if (::fstat(file_, &st) != 0 || !S_ISREG(st.st_mode)) {
    ::close(file_);
    fail("'{}' is not a regular file", path.string());
  }
  size_ = static_cast<size_t>(st.st_size);
  if (size_ == 0) return;
  void* p = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_, 0);
  if (p == MAP_FAILED) {
    const int error = errno;
    ::close(file_);
    fail("cannot map '{}': {}", path.string(), std::strerror(error));
  }
  data_ = static_cast<const std::byte*>(p);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  if (file_ >= 0) ::close(file_);
}

MappedFile::MappedFile(MappedFile&& o) noexcept
    : path_(std::move(o.path_)),
      file_(std::exchange(o.file_, -1)),
      data_(std::exchange(o.data_, nullptr)),
      size_(std::exchange(o.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& o) noexcept {
  std::swap(path_, o.path_);
  std::swap(file_, o.file_);
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

void MappedFile::copy(std::span<const std::byte> part, std::byte* to) const {
  const auto begin = static_cast<size_t>(part.data() - data_);
  for (size_t done = 0; done < part.size();) {
    const ssize_t n =
        ::pread(file_, to + done, part.size() - done, static_cast<off_t>(begin + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot read '{}': {}", path_.string(), std::strerror(errno));
    if (n == 0)
      fail("'{}' became shorter while it was read: it had {} bytes", path_.string(), size_);
    done += static_cast<size_t>(n);
  }
}

}  // namespace tokamak

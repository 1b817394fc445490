#include "base/mapped_output.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace tokamak {
namespace {

std::filesystem::path temporary_name(const std::filesystem::path& target) {
  static std::atomic<unsigned> serial{0};  // two writers in one process never share a name
  return target.parent_path() /
         fmt::format(".{}.tmp-{}-{}", target.filename().string(), ::getpid(), serial++);
}

[[noreturn]] void fail_io(const char* verb, const std::filesystem::path& target, int error) {
  fail("cannot {} '{}': {}", verb, target.string(), std::strerror(error));
}

}  // namespace

MappedOutput::MappedOutput(const std::filesystem::path& target)
    : target_(target), temporary_(temporary_name(target)) {
  fd_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_io("create", target_, errno);
}

MappedOutput::~MappedOutput() {
  unmap();
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
}

void MappedOutput::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  TOKAMAK_ASSERT(fd_ >= 0);
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_io("write", target_, n < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

void MappedOutput::reserve(uint64_t size) {
  TOKAMAK_ASSERT(fd_ >= 0 && !mapping_);
  if (size == 0) return;
  const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(size));
  if (error != 0) fail_io("reserve space for", target_, error);
  reserved_ = size;
}

std::span<std::byte> MappedOutput::map() {
  if (!mapping_ && reserved_ > 0) {
    void* p = ::mmap(nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (p == MAP_FAILED) fail_io("map", target_, errno);
    mapping_ = static_cast<std::byte*>(p);
  }
  return {mapping_, reserved_};
}

void MappedOutput::release(std::span<std::byte> part) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void MappedOutput::unmap() {
  if (mapping_) ::munmap(mapping_, reserved_);
  mapping_ = nullptr;
}

void MappedOutput::commit() {
  TOKAMAK_ASSERT(fd_ >= 0);
  unmap();
  if (::fsync(fd_) != 0) fail_io("flush", target_, errno);
  const int closed = ::close(fd_);
  fd_ = -1;
  if (closed != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    fail_io("write", target_, error);
  }
}

}  // namespace tokamak

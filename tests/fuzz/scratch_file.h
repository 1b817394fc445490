// Fuzz input as a file in memory: the readers map files.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace tokamak {

class ScratchFile {
 public:
  ScratchFile(const uint8_t* data, size_t size) : fd_(::memfd_create("fuzz", 0)) {
    while (size > 0) {
      const ssize_t n = ::write(fd_, data, size);
      if (n <= 0) break;
      data += n;
      size -= static_cast<size_t>(n);
    }
  }
  ~ScratchFile() { ::close(fd_); }
  ScratchFile(const ScratchFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace tokamak

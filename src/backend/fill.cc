#include <atomic>

#include "backend/backend.h"

namespace tokamak {

void Backend::fill(std::span<const Piece> pieces,
                   const std::function<void(size_t, std::byte*)>& write) {
  std::atomic<size_t> next{0};
  parallel([&](int, int) {
    std::vector<std::byte> staging;
    for (size_t i = next++; i < pieces.size(); i = next++) {
      const Piece& p = pieces[i];
      if (in_host_memory()) {
        write(i, p.device);
        continue;
      }
      staging.resize(p.bytes);
      write(i, staging.data());
      copy_in(p.device, staging.data(), p.bytes);
    }
  });
}

}  // namespace tokamak

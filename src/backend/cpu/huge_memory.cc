#include "backend/cpu/huge_memory.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace tokamak {
namespace {

constexpr size_t kPage = 4096, kHugePage = 2 << 20;

size_t mapped_bytes(size_t bytes) {
  const size_t unit = bytes >= kHugePage ? kHugePage : kPage;
  return (std::max<size_t>(bytes, 1) + unit - 1) / unit * unit;
}

// A hint: a kernel without NUMA, or a sandbox, refuses it.
void interleave(void* p, size_t bytes, const std::vector<int>& nodes) {
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask;
  for (const int node : nodes) {
    const auto n = static_cast<size_t>(node);
    mask.resize(std::max(mask.size(), n / kBits + 1));
    mask[n / kBits] |= 1ul << (n % kBits);
  }
  syscall(SYS_mbind, p, bytes, MPOL_INTERLEAVE, mask.data(), mask.size() * kBits + 1, 0);
}

}  // namespace

std::byte* map_memory(size_t bytes, const std::vector<int>& nodes) {
  const size_t size = mapped_bytes(bytes);
  const size_t extra = size >= kHugePage ? kHugePage : 0;
  void* p = mmap(nullptr, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  auto* begin = static_cast<std::byte*>(p);
  if (extra != 0) {
    const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(p) % kHugePage) % kHugePage;
    if (skip != 0) munmap(begin, skip);
    munmap(begin + skip + size, extra - skip);
    begin += skip;
    madvise(begin, size, MADV_HUGEPAGE);
    if (nodes.size() > 1) interleave(begin, size, nodes);
  }
  return begin;
}

void unmap_memory(std::byte* p, size_t bytes) {
  if (p != nullptr) munmap(p, mapped_bytes(bytes));
}

}  // namespace tokamak

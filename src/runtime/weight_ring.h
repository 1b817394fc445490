// Which weights stay in host memory when not all of them fit on the device, and where in a ring of
// device memory each is put for the launch that reads it.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace tokamak {

inline constexpr int64_t kRingAlign = 4096;

struct WeightRing {
  std::vector<int64_t> offsets;    // per group; -1: stays on the device
  int64_t bytes = 0;               // of the ring; 0: all stay
  int64_t moved = 0, largest = 0;  // of the groups in host memory: together, the largest one
};

// groups: bytes of the weights that one step reads, in the order of the steps, multiples of
// kRingAlign. percent: of `total`, all weights, that stays on the device. Those that leave are
// spread over the steps evenly, so that their copies have the same time each. The ring holds two
// groups at least: one is copied while the other is read.
WeightRing plan_ring(std::span<const int64_t> groups, int64_t total, double percent);

}  // namespace tokamak

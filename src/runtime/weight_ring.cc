#include "runtime/weight_ring.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace tokamak {
namespace {

// As much of every stretch of steps as of all; the last ones of a stretch, so that the first copy
// has time.
std::vector<bool> choose_evenly(std::span<const int64_t> groups, double share) {
  std::vector<bool> chosen;
  double due = 0, taken = 0;
  for (const int64_t g : groups) {
    const auto bytes = static_cast<double>(g);
    due += share * bytes;
    chosen.push_back(g > 0 && taken + 0.5 * bytes <= due);
    if (chosen.back()) taken += bytes;
  }
  return chosen;
}

}  // namespace

WeightRing plan_ring(std::span<const int64_t> groups, int64_t total, double percent) {
  TOKAMAK_ASSERT(percent >= 0 && percent <= 100);
  WeightRing ring;
  ring.offsets.assign(groups.size(), -1);
  const auto movable = static_cast<double>(std::accumulate(groups.begin(), groups.end(), 0LL));
  const double wanted = static_cast<double>(total) * (1 - percent / 100);
  if (wanted <= 0 || movable <= 0) return ring;
  const std::vector<bool> chosen = choose_evenly(groups, std::min(1.0, wanted / movable));
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!chosen[i]) continue;
    TOKAMAK_ASSERT(groups[i] % kRingAlign == 0);
    ring.moved += groups[i];
    ring.largest = std::max(ring.largest, groups[i]);
  }
  ring.bytes = 2 * ring.largest;
  if (ring.bytes >= ring.moved) return {std::vector<int64_t>(groups.size(), -1)};  // no gain
  int64_t end = 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!chosen[i]) continue;
    if (end + groups[i] > ring.bytes) end = 0;
    ring.offsets[i] = end;
    end += groups[i];
  }
  return ring;
}

}  // namespace tokamak

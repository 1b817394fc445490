#include "backend/cpu/cpu_tactic.h"

#include <algorithm>
#include <array>

namespace tokamak {
namespace {

// One core: bytes and operations per µs that a kernel of a level typically reaches. They rank
// tactics when nothing was timed; only their order matters.
struct LevelSpeed {
  double bytes_per_us, flops_per_us;
};
constexpr std::array<LevelSpeed, kIsaCount> kSpeed = {{
    {1000, 800},       // reference: one element at a time
    {12000, 40000},    // avx2
    {14000, 80000},    // avx512
    {15000, 160000},   // avx512_vnni
    {16000, 1000000},  // amx
}};
constexpr double kLaunchUs = 0.5;

}  // namespace

double CpuTactic::estimate_us(const OpSignature& signature, int64_t tokens) const {
  const OpCost c = cost(signature, tokens, tokens, tokens * 256);
  const LevelSpeed& speed = kSpeed[static_cast<size_t>(level_)];
  const double us = std::max(c.bytes / speed.bytes_per_us, c.flops / speed.flops_per_us);
  return kLaunchUs + us / target_.workers;
}

}  // namespace tokamak

// What the kernels that choose tokens share: scores as numbers that compare like them, and what
// happens with the choice.
#pragma once
#include "backend/device_sampling.h"

namespace tokamak::cuda {

// Unsigned numbers in the order of the scores; -0 counts as 0. NaN is not for it.
__device__ inline uint32_t order_of(float score) {
  const uint32_t bits = __float_as_uint(score + 0.f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ inline float score_of(uint32_t order) {
  return __uint_as_float(order & 0x80000000u ? order & 0x7fffffffu : ~order);
}

// The larger is the likelier token, of equals the one with the lower id. NaN is above all.
using Rank = unsigned long long;
constexpr Rank kNanRank = ~Rank{0};
__device__ inline Rank rank_of(float score, uint32_t id) {
  return isnan(score) ? kNanRank : Rank{order_of(score)} << 32 | ~id;
}
__device__ inline int32_t id_of(Rank r) { return static_cast<int32_t>(~static_cast<uint32_t>(r)); }
__device__ inline float score_of(Rank r) { return score_of(static_cast<uint32_t>(r >> 32)); }

__device__ inline Rank larger(Rank a, Rank b) { return a > b ? a : b; }
__device__ inline Rank warp_largest(Rank r) {
  for (int d = 16; d > 0; d /= 2) r = larger(r, __shfl_xor_sync(0xffffffffu, r, d));
  return r;
}

// One thread: the token, or the ChoiceError, goes to the host and into the next step. A row that is
// full stays as it is. An error stays in the history, so that later steps repeat it.
__device__ inline void tell_host(int32_t* slot, int32_t choice) {
  asm volatile("st.relaxed.sys.global.s32 [%0], %1;" ::"l"(slot), "r"(choice) : "memory");
}
__device__ inline void feed_back(const DecodeRows& d, int row, int32_t choice) {
  if (d.history == nullptr) {
    d.token_ids[row] = choice;
    return tell_host(d.chosen + row, choice);
  }
  const int32_t length = d.history_len[row], step = length - d.prompt_len[row];
  if (length >= d.history_stride) return;
  int32_t* history = d.history + row * d.history_stride;
  if (length > 0 && history[length - 1] < 0) choice = history[length - 1];
  history[length] = choice;
  d.history_len[row] = length + 1;
  d.token_ids[row] = choice < 0 ? 0 : choice;
  d.positions[row] += 1;
  d.context_len[row] += 1;
  if (step < 0 || step >= d.chosen_stride) return;
  tell_host(d.chosen + row * d.chosen_stride + step, choice);
}

}  // namespace tokamak::cuda

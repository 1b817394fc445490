// Rotary embedding of one element of a head that lies in shared memory.
#pragma once
#include "backend/cuda/kernels/reference.h"

namespace tokamak::cuda {

// The sequence that a packed token belongs to.
__device__ inline int sequence_of(const StepArg& step, int token) {
  int low = 0, high = step.sequences - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (step.query_begin[middle] <= token)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

// Inverse frequency i for a sequence of this length, and the factor on cosine and sine.
__device__ inline float frequency(const RopeArg& r, int64_t length, int i, float& magnitude) {
  magnitude = r.magnitude;
  if (r.dynamic && length > r.max_position) {
    const double dim = r.rotary_dim;
    const double growth =
        r.factor * static_cast<double>(length) / static_cast<double>(r.max_position) -
        (r.factor - 1);
    const auto base = static_cast<double>(static_cast<float>(r.theta * pow(growth, dim / (dim - 2))));
    const float power = static_cast<float>(2 * i) / static_cast<float>(r.rotary_dim);
    return 1.0f / static_cast<float>(pow(base, static_cast<double>(power)));
  }
  if (r.long_table && length > r.long_from) {
    magnitude = r.long_magnitude;
    return r.long_table[i];
  }
  return r.table[i];
}

// Element i of a head that lies in shared memory, turned.
__device__ inline float turned(const RopeArg& r, const float* head, int64_t length, int position,
                               int i) {
  if (i >= r.rotary_dim) return head[i];
  const int half = r.rotary_dim / 2;
  const bool second = r.neox ? i >= half : i % 2 == 1;
  const int pair = r.neox ? i % half : i / 2;
  const float other = head[r.neox ? (second ? i - half : i + half) : (second ? i - 1 : i + 1)];
  float magnitude, s, c;
  sincosf(static_cast<float>(position) * frequency(r, length, pair, magnitude), &s, &c);
  s *= magnitude;
  c *= magnitude;
  return second ? head[i] * c + other * s : head[i] * c - other * s;
}

}  // namespace tokamak::cuda

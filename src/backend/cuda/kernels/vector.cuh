// Activations: eight neighbouring elements at a time, one or two loads of 16 bytes whatever the
// dtype, or one.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "backend/cuda/kernels/operand.h"

namespace tokamak::cuda {

constexpr int kVector = 8;

struct Raw8 {
  uint4 a, b;  // b: the second half of f32
};

__host__ __device__ inline int element_bytes(DType t) { return t == DType::f32 ? 4 : 2; }

__device__ inline uint8_t* vector_at(const RowsArg& x, int64_t row, int64_t vector) {
  return static_cast<uint8_t*>(x.data) +
         (row * x.stride + vector * kVector) * element_bytes(x.dtype);
}
__device__ inline Raw8 load8(DType t, const void* p) {
  Raw8 r;
  r.a = static_cast<const uint4*>(p)[0];
  r.b = t == DType::f32 ? static_cast<const uint4*>(p)[1] : uint4{};
  return r;
}
__device__ inline void store8(DType t, void* p, const Raw8& r) {
  static_cast<uint4*>(p)[0] = r.a;
  if (t == DType::f32) static_cast<uint4*>(p)[1] = r.b;
}

__device__ inline void widen8(DType t, const Raw8& r, float (&f)[kVector]) {
  const uint32_t w[8] = {r.a.x, r.a.y, r.a.z, r.a.w, r.b.x, r.b.y, r.b.z, r.b.w};
  if (t == DType::f32) {
#pragma unroll
    for (int i = 0; i < 8; ++i) f[i] = __uint_as_float(w[i]);
  } else if (t == DType::bf16) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      f[2 * i] = __uint_as_float(w[i] << 16);
      f[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 v = __half22float2(*reinterpret_cast<const __half2*>(w + i));
      f[2 * i] = v.x;
      f[2 * i + 1] = v.y;
    }
  }
}
__device__ inline Raw8 narrow8(DType t, const float (&f)[kVector]) {
  uint32_t w[8] = {};
  if (t == DType::f32) {
#pragma unroll
    for (int i = 0; i < 8; ++i) w[i] = __float_as_uint(f[i]);
  } else if (t == DType::bf16) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const __nv_bfloat162 v = __floats2bfloat162_rn(f[2 * i], f[2 * i + 1]);
      w[i] = *reinterpret_cast<const uint32_t*>(&v);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const __half2 v = __floats2half2_rn(f[2 * i], f[2 * i + 1]);
      w[i] = *reinterpret_cast<const uint32_t*>(&v);
    }
  }
  return {{w[0], w[1], w[2], w[3]}, {w[4], w[5], w[6], w[7]}};
}

// An activation: one of three dtypes, chosen without a table of jumps.
__device__ inline float load_activation(DType t, const void* p, int64_t i) {
  if (t == DType::f32) return static_cast<const float*>(p)[i];
  const uint16_t v = static_cast<const uint16_t*>(p)[i];
  return t == DType::bf16 ? __uint_as_float(uint32_t{v} << 16) : __half2float(__ushort_as_half(v));
}
__device__ inline void store_activation(DType t, void* p, int64_t i, float v) {
  if (t == DType::f32)
    static_cast<float*>(p)[i] = v;
  else if (t == DType::bf16)
    static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16_rn(v);
  else
    static_cast<__half*>(p)[i] = __float2half_rn(v);
}
__device__ inline float load_activation(const RowsArg& x, int64_t row, int64_t i) {
  return load_activation(x.dtype, x.data, row * x.stride + i);
}
__device__ inline void store_activation(const RowsArg& y, int64_t row, int64_t i, float v) {
  store_activation(y.dtype, y.data, row * y.stride + i, v);
}

// Whether rows of this operand can be read so. Null data: nothing to read.
inline bool has_vectors(const RowsArg& x) {
  if (!x.data) return true;
  return (x.dtype == DType::f32 || x.dtype == DType::f16 || x.dtype == DType::bf16) &&
         x.width % kVector == 0 && (x.rows == 1 || x.stride * element_bytes(x.dtype) % 16 == 0) &&
         reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}

}  // namespace tokamak::cuda

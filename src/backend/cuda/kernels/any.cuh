// Elements of any dtype in device code, chosen at run time: for the reference kernels, which are
// right for everything and fast for nothing.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "backend/cuda/kernels/operand.h"

namespace tokamak::cuda {

__device__ inline float half_at(const uint8_t* p) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(p[0] | p[1] << 8)));
}

__device__ inline float load_any(DType t, const void* p, int64_t i) {
  switch (t) {
    case DType::f32: return static_cast<const float*>(p)[i];
    case DType::f16: return __half2float(static_cast<const __half*>(p)[i]);
    case DType::bf16: return __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]);
    case DType::f8e4m3: return static_cast<float>(static_cast<const __nv_fp8_e4m3*>(p)[i]);
    case DType::f64: return static_cast<float>(static_cast<const double*>(p)[i]);
    case DType::i8: return static_cast<const int8_t*>(p)[i];
    case DType::u8: return static_cast<const uint8_t*>(p)[i];
    case DType::boolean: return static_cast<const uint8_t*>(p)[i] != 0;
    case DType::i16: return static_cast<const int16_t*>(p)[i];
    case DType::i32: return static_cast<float>(static_cast<const int32_t*>(p)[i]);
    case DType::i64: return static_cast<float>(static_cast<const int64_t*>(p)[i]);
    default: return __int_as_float(0x7fffffff);  // no tactic claims it: NaN shows
  }
}

__device__ inline void store_any(DType t, void* p, int64_t i, float v) {
  switch (t) {
    case DType::f32: static_cast<float*>(p)[i] = v; break;
    case DType::f16: static_cast<__half*>(p)[i] = __float2half_rn(v); break;
    case DType::bf16: static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16_rn(v); break;
    case DType::f8e4m3: static_cast<__nv_fp8_e4m3*>(p)[i] = __nv_fp8_e4m3(v); break;  // saturates
    case DType::f64: static_cast<double*>(p)[i] = v; break;
    case DType::i8: static_cast<int8_t*>(p)[i] = static_cast<int8_t>(v); break;
    case DType::u8: static_cast<uint8_t*>(p)[i] = static_cast<uint8_t>(v); break;
    case DType::boolean: static_cast<uint8_t*>(p)[i] = v != 0; break;
    case DType::i16: static_cast<int16_t*>(p)[i] = static_cast<int16_t>(v); break;
    case DType::i32: static_cast<int32_t*>(p)[i] = static_cast<int32_t>(v); break;
    case DType::i64: static_cast<int64_t*>(p)[i] = static_cast<int64_t>(v); break;
    default: break;
  }
}

__device__ inline float at(const RowsArg& x, int64_t row, int64_t i) {
  return load_any(x.dtype, x.data, row * x.stride + i);
}
__device__ inline void put(const RowsArg& x, int64_t row, int64_t i, float v) {
  store_any(x.dtype, x.data, row * x.stride + i, v);
}

// Element i of a weight's row of any dtype, block formats included. Blocks as GGUF lays them out;
// weight-only groups as base/dtype.h says (`group` of a per-row format: the row's width).
struct WeightArg {
  const uint8_t* data = nullptr;
  int64_t rows = 0, width = 0, row_bytes = 0;
  DType dtype = DType::f32;
  int bits = 0, group = 0;  // weight-only formats
  bool has_min = false;
};

// Scale and minimum of sub-block s (of 8) of the K formats' 12 packed bytes.
__device__ inline void k_scale(const uint8_t* p, int s, int& scale, int& minimum) {
  if (s < 4) {
    scale = p[s] & 63;
    minimum = p[s + 4] & 63;
  } else {
    scale = (p[s + 4] & 15) | (p[s - 4] >> 6) << 4;
    minimum = (p[s + 4] >> 4) | (p[s] >> 6) << 4;
  }
}

__device__ inline float group_element(const WeightArg& w, const uint8_t* row, int64_t i) {
  const int header = w.has_min ? 4 : 2;
  const uint8_t* g = row + i / w.group * (header + int64_t{w.group} * w.bits / 8);
  const int64_t j = i % w.group;
  const float d = half_at(g), m = w.has_min ? half_at(g + 2) : 0.f;
  int code;
  if (w.bits == 8)
    code = w.has_min ? g[header + j] : static_cast<int8_t>(g[header + j]);
  else
    code = (g[header + j / 2] >> (j % 2 * 4) & 15) - (w.has_min ? 0 : 8);
  return d * static_cast<float>(code) + m;
}

__device__ inline float f8_row_element(const uint8_t* row, int64_t i) {
  const uint32_t scale = row[0] | row[1] << 8 | row[2] << 16 | static_cast<uint32_t>(row[3]) << 24;
  return __uint_as_float(scale) * load_any(DType::f8e4m3, row + 4, i);
}

__device__ inline float small_block_element(DType t, const uint8_t* row, int64_t i) {
  const int j = static_cast<int>(i % 32), nibble = j % 16, shift = j / 16 * 4;
  const int64_t b = i / 32;
  const auto code = [&](const uint8_t* q) { return q[nibble] >> shift & 15; };
  switch (t) {
    case DType::q4_0: {
      const uint8_t* p = row + b * 18;
      return half_at(p) * static_cast<float>(code(p + 2) - 8);
    }
    case DType::q4_1: {
      const uint8_t* p = row + b * 20;
      return half_at(p) * static_cast<float>(code(p + 4)) + half_at(p + 2);
    }
    case DType::q5_0: {
      const uint8_t* p = row + b * 22;
      const int high = p[2 + j / 8] >> (j % 8) & 1;
      return half_at(p) * static_cast<float>((code(p + 6) | high << 4) - 16);
    }
    case DType::q5_1: {
      const uint8_t* p = row + b * 24;
      const int high = p[4 + j / 8] >> (j % 8) & 1;
      return half_at(p) * static_cast<float>(code(p + 8) | high << 4) + half_at(p + 2);
    }
    default: {  // q8_0
      const uint8_t* p = row + b * 34;
      return half_at(p) * static_cast<float>(static_cast<int8_t>(p[2 + j]));
    }
  }
}

__device__ inline float k_block_element(DType t, const uint8_t* row, int64_t i) {
  const int r = static_cast<int>(i % 256), half = r / 128, l = r % 32, quad = r % 128 / 32;
  const int64_t b = i / 256;
  switch (t) {
    case DType::q2_k: {
      const uint8_t* p = row + b * 84;
      const int sc = p[r / 16], q = p[16 + 32 * half + l] >> 2 * quad & 3;
      return half_at(p + 80) * static_cast<float>((sc & 15) * q) -
             half_at(p + 82) * static_cast<float>(sc >> 4);
    }
    case DType::q3_k: {
      const uint8_t *p = row + b * 110, *s = p + 96;
      const int is = r / 16, low = is < 8 ? s[is] & 15 : s[is - 8] >> 4;
      const int sc = (low | (s[8 + is % 4] >> 2 * (is / 4) & 3) << 4) - 32;
      const int high = p[l] >> (4 * half + quad) & 1;
      const int q = (p[32 + 32 * half + l] >> 2 * quad & 3) - (high ? 0 : 4);
      return half_at(p + 108) * static_cast<float>(sc * q);
    }
    case DType::q4_k:
    case DType::q5_k: {
      const bool five = t == DType::q5_k;
      const uint8_t *p = row + b * (five ? 176 : 144), *qs = p + (five ? 48 : 16);
      const int s = r / 32;
      int sc, m;
      k_scale(p + 4, s, sc, m);
      int q = qs[32 * (s / 2) + l] >> s % 2 * 4 & 15;
      if (five) q |= (p[16 + l] >> s & 1) << 4;
      return half_at(p) * static_cast<float>(sc * q) - half_at(p + 2) * static_cast<float>(m);
    }
    default: {  // q6_k
      const uint8_t* p = row + b * 210;
      const int low = p[64 * half + l + (quad & 1) * 32] >> quad / 2 * 4 & 15;
      const int q = (low | (p[128 + 32 * half + l] >> 2 * quad & 3) << 4) - 32;
      const int sc = static_cast<int8_t>(p[192 + 8 * half + 2 * quad + l / 16]);
      return half_at(p + 208) * static_cast<float>(sc * q);
    }
  }
}

__device__ inline float weight_at(const WeightArg& w, int64_t row, int64_t i) {
  const uint8_t* p = w.data + row * w.row_bytes;
  if (w.dtype < DType::q4_0) return load_any(w.dtype, p, i);
  if (w.dtype == DType::f8_row) return f8_row_element(p, i);
  if (w.bits > 0 && w.dtype > DType::q6_k) return group_element(w, p, i);
  return w.dtype >= DType::q2_k ? k_block_element(w.dtype, p, i)
                                : small_block_element(w.dtype, p, i);
}

// Sum or maximum over a block of threads, for all of them; `shared` holds 32 floats.
template <typename F>
__device__ inline float block_reduce(float v, float* shared, F f) {
  for (int d = 16; d > 0; d /= 2) v = f(v, __shfl_xor_sync(0xffffffffu, v, d));
  const unsigned warps = (blockDim.x + 31) / 32;
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = v;
  __syncthreads();
  v = shared[0];
  for (unsigned w = 1; w < warps; ++w) v = f(v, shared[w]);
  return v;
}
__device__ inline float block_sum(float v, float* shared) {
  return block_reduce(v, shared, [](float a, float b) { return a + b; });
}

}  // namespace tokamak::cuda

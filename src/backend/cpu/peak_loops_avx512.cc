#include <immintrin.h>

#include "backend/cpu/peak_loops.h"
#include "backend/cpu/read_streams.h"

namespace tokamak {

void peak_read_avx512(const std::byte* p, size_t bytes) {
  const auto* v = reinterpret_cast<const __m512i*>(p);
  __m512i sum[8] = {};
  for (size_t i = 0; i < bytes / 64; i += 8)
    for (size_t j = 0; j < 8; ++j) sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(v + i + j));
  for (__m512i& s : sum) asm volatile("" ::"v"(s));
}

void peak_read_streams_avx512(const std::byte* p, size_t bytes) {
  __m512i sum[4] = {};
  const size_t done = read_streams(
      p, bytes, [&](const std::byte* q) __attribute__((always_inline)) {
        const auto* v = reinterpret_cast<const __m512i*>(q);
        for (size_t j = 0; j < kReadStep / sizeof(__m512i); ++j)
          sum[j % 4] = _mm512_xor_si512(sum[j % 4], _mm512_loadu_si512(v + j));
      });
  for (__m512i& s : sum) asm volatile("" ::"v"(s));
  peak_read_avx512(p + done, bytes - done);
}

double peak_f32_avx512(int64_t rounds) {
  __m512 acc[16] = {};
  const __m512 x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m512& a : acc) {
      a = _mm512_fmadd_ps(a, x, y);
      asm volatile("" : "+v"(a));
    }
  return static_cast<double>(rounds) * 16 * 16 * 2;
}

}  // namespace tokamak

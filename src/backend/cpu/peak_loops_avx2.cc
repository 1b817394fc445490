#include <immintrin.h>

#include "backend/cpu/peak_loops.h"
#include "backend/cpu/read_streams.h"

namespace tokamak {

void peak_read_avx2(const std::byte* p, size_t bytes) {
  const auto* v = reinterpret_cast<const __m256i*>(p);
  __m256i sum[8] = {};
  for (size_t i = 0; i < bytes / 32; i += 8)
    for (size_t j = 0; j < 8; ++j) sum[j] = _mm256_xor_si256(sum[j], _mm256_loadu_si256(v + i + j));
  for (__m256i& s : sum) asm volatile("" ::"x"(s));
}

void peak_read_streams_avx2(const std::byte* p, size_t bytes) {
  __m256i sum[4] = {};
  const size_t done = read_streams(
      p, bytes, [&](const std::byte* q) __attribute__((always_inline)) {
        const auto* v = reinterpret_cast<const __m256i*>(q);
        for (size_t j = 0; j < kReadStep / sizeof(__m256i); ++j)
          sum[j % 4] = _mm256_xor_si256(sum[j % 4], _mm256_loadu_si256(v + j));
      });
  for (__m256i& s : sum) asm volatile("" ::"x"(s));
  peak_read_avx2(p + done, bytes - done);
}

double peak_f32_avx2(int64_t rounds) {
  __m256 acc[12] = {};
  const __m256 x = _mm256_set1_ps(0.5f), y = _mm256_set1_ps(0.25f);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m256& a : acc) {
      a = _mm256_fmadd_ps(a, x, y);
      asm volatile("" : "+x"(a));
    }
  return static_cast<double>(rounds) * 12 * 8 * 2;
}

// u8 x s8 pairs to int16, pairs to int32, added: what a VNNI-less kernel does.
double peak_int8_avx2(int64_t rounds) {
  __m256i acc[8] = {};
  const __m256i ones = _mm256_set1_epi16(1), s = _mm256_set1_epi8(3);
  __m256i u = _mm256_set1_epi8(2);
  for (int64_t i = 0; i < rounds; ++i)
    for (__m256i& a : acc) {
      asm volatile("" : "+x"(u));
      a = _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), ones));
      asm volatile("" : "+x"(a));
    }
  return static_cast<double>(rounds) * 8 * 32 * 2;
}

}  // namespace tokamak

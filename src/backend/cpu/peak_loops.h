// Loops that do nothing but read, or nothing but multiply and add in registers, one set per ISA.
#pragma once
#include <cstddef>
#include <cstdint>

namespace tokamak {

// Reads every cache line of [p, p + bytes); bytes is a multiple of 4096.
void peak_read_sse2(const std::byte* p, size_t bytes);
void peak_read_avx2(const std::byte* p, size_t bytes);
void peak_read_avx512(const std::byte* p, size_t bytes);
// The same in another order: several streams side by side.
void peak_read_streams_avx2(const std::byte* p, size_t bytes);
void peak_read_streams_avx512(const std::byte* p, size_t bytes);

// `rounds` rounds over independent accumulators; returns the operations done (multiply-add: 2).
double peak_f32_sse2(int64_t rounds);
double peak_f32_avx2(int64_t rounds);
double peak_f32_avx512(int64_t rounds);
double peak_int8_avx2(int64_t rounds);
double peak_int8_avx512_vnni(int64_t rounds);
double peak_int8_amx(int64_t rounds);
double peak_bf16_avx512_bf16(int64_t rounds);
double peak_bf16_amx(int64_t rounds);

struct PeakLoops {
  double (*f32)(int64_t) = nullptr;
  double (*bf16)(int64_t) = nullptr;  // null: the level has no such instruction
  double (*int8)(int64_t) = nullptr;
};

}  // namespace tokamak

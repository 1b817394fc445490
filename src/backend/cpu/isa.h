// ISA levels of x86-64, each including the lower ones, and which of them this machine really runs.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tokamak {

enum class Isa : uint8_t {
  reference,    // what every x86-64 runs
  avx2,         // AVX2, FMA, F16C, BMI2
  avx512,       // F, BW, DQ, VL, CD
  avx512_vnni,  // int8 dot products
  amx,          // tiles: int8 and bf16; implies avx512_bf16
};
inline constexpr int kIsaCount = static_cast<int>(Isa::amx) + 1;

std::string_view name(Isa isa);
Isa parse_isa(std::string_view text);  // Error lists the known ones

struct IsaReport {
  std::array<std::string, kIsaCount> missing;  // what a level lacks here; empty: the level runs
  std::string avx512_bf16_missing;             // the same for the extra feature avx512_bf16
  bool has(Isa isa) const { return missing[static_cast<int>(isa)].empty(); }
  bool avx512_bf16() const { return avx512_bf16_missing.empty(); }
  Isa best() const;
  std::string levels() const;  // "reference, avx2, avx512"
};

// Detected once: CPUID, the state that the OS saves (XCR0), and a guarded probe that runs the
// feature.
const IsaReport& isa_report();

// `asked`, else TOKAMAK_ISA, else the best level. Error when this machine lacks the level asked
// for.
Isa choose_isa(std::string_view asked);

std::string cpu_brand();  // "AMD EPYC 9354 32-Core Processor"

}  // namespace tokamak

#include "backend/cpu/isa.h"

#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "backend/cpu/isa_probe.h"
#include "base/error.h"

namespace tokamak {
namespace {

constexpr std::array<std::string_view, kIsaCount> kNames = {"reference", "avx2", "avx512",
                                                            "avx512_vnni", "amx"};

// ---- CPUID and the state that the OS saves ----

struct CpuBits {
  uint32_t leaf1_ecx = 0, leaf7_ebx = 0, leaf7_ecx = 0, leaf7_edx = 0, leaf7_1_eax = 0;
  uint64_t xcr0 = 0;
};

CpuBits read_cpu() {
  CpuBits bits;
  uint32_t a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) bits.leaf1_ecx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    bits.leaf7_ebx = b;
    bits.leaf7_ecx = c;
    bits.leaf7_edx = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) bits.leaf7_1_eax = a;
  }
  if (bits.leaf1_ecx & bit_OSXSAVE) {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    bits.xcr0 = static_cast<uint64_t>(high) << 32 | low;
  }
  return bits;
}

struct Feature {
  const char* name;
  bool there;
};

std::string first_missing(std::initializer_list<Feature> features) {
  for (const Feature& f : features)
    if (!f.there) return std::string("CPUID lacks ") + f.name;
  return {};
}

bool bit(uint32_t word, int i) { return (word >> i) & 1; }
bool os_saves(const CpuBits& c, uint64_t mask) { return (c.xcr0 & mask) == mask; }

// ---- Running a probe that may fault ----

sigjmp_buf probe_escape;  // one detection runs at a time: isa_report() is initialised once
void on_fault(int) { siglongjmp(probe_escape, 1); }

enum class ProbeResult { right, wrong, fault };

ProbeResult guarded(bool (*probe)()) {
  struct sigaction action = {}, old_ill, old_segv;
  action.sa_handler = on_fault;
  sigaction(SIGILL, &action, &old_ill);
  sigaction(SIGSEGV, &action, &old_segv);
  volatile ProbeResult result = ProbeResult::fault;
  if (sigsetjmp(probe_escape, 1) == 0) result = probe() ? ProbeResult::right : ProbeResult::wrong;
  sigaction(SIGILL, &old_ill, nullptr);
  sigaction(SIGSEGV, &old_segv, nullptr);
  return result;
}

std::string probe_failure(bool (*probe)()) {
  switch (guarded(probe)) {
    case ProbeResult::right:
      return {};
    case ProbeResult::wrong:
      return "the probe computed a wrong result";
    case ProbeResult::fault:
      return "the probe faulted";
  }
  return {};
}

// Linux hands out the 8 KiB tile state only on request; permission is per process and inherited.
std::string request_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return {};
  return std::string("the kernel refused tile data (arch_prctl: ") + std::strerror(errno) + ")";
}

// ---- Levels ----

std::string check_avx2(const CpuBits& c) {
  std::string why = first_missing({{"AVX2", bit(c.leaf7_ebx, 5)},
                                   {"FMA", bit(c.leaf1_ecx, 12)},
                                   {"F16C", bit(c.leaf1_ecx, 29)},
                                   {"BMI2", bit(c.leaf7_ebx, 8)}});
  if (why.empty() && !os_saves(c, 0x6)) why = "the OS does not save the AVX state (XCR0)";
  return why.empty() ? probe_failure(isa_probe::avx2) : why;
}

std::string check_avx512(const CpuBits& c) {
  std::string why = first_missing({{"AVX512F", bit(c.leaf7_ebx, 16)},
                                   {"AVX512BW", bit(c.leaf7_ebx, 30)},
                                   {"AVX512DQ", bit(c.leaf7_ebx, 17)},
                                   {"AVX512VL", bit(c.leaf7_ebx, 31)},
                                   {"AVX512CD", bit(c.leaf7_ebx, 28)}});
  if (why.empty() && !os_saves(c, 0xe6)) why = "the OS does not save the AVX-512 state (XCR0)";
  return why.empty() ? probe_failure(isa_probe::avx512) : why;
}

std::string check_vnni(const CpuBits& c) {
  const std::string why = first_missing({{"AVX512_VNNI", bit(c.leaf7_ecx, 11)}});
  return why.empty() ? probe_failure(isa_probe::avx512_vnni) : why;
}

std::string check_bf16(const CpuBits& c) {
  const std::string why = first_missing({{"AVX512_BF16", bit(c.leaf7_1_eax, 5)}});
  return why.empty() ? probe_failure(isa_probe::avx512_bf16) : why;
}

std::string check_amx(const CpuBits& c) {
  std::string why = first_missing({{"AMX-TILE", bit(c.leaf7_edx, 24)},
                                   {"AMX-INT8", bit(c.leaf7_edx, 25)},
                                   {"AMX-BF16", bit(c.leaf7_edx, 22)}});
  if (why.empty() && !os_saves(c, 0x60000)) why = "the OS does not save the tile state (XCR0)";
  if (why.empty()) why = request_tiles();
  return why.empty() ? probe_failure(isa_probe::amx) : why;
}

IsaReport detect() {
  const CpuBits cpu = read_cpu();
  IsaReport r;
  auto missing = [&r](Isa isa) -> std::string& { return r.missing[static_cast<int>(isa)]; };
  // A level needs the one below it.
  auto level = [&](Isa isa, std::string (*check)(const CpuBits&)) {
    const std::string& below = r.missing[static_cast<int>(isa) - 1];
    missing(isa) = below.empty() ? check(cpu) : below;
  };
  level(Isa::avx2, check_avx2);
  level(Isa::avx512, check_avx512);
  level(Isa::avx512_vnni, check_vnni);
  const std::string& vnni = missing(Isa::avx512_vnni);
  r.avx512_bf16_missing = vnni.empty() ? check_bf16(cpu) : vnni;
  missing(Isa::amx) = r.avx512_bf16() ? check_amx(cpu) : r.avx512_bf16_missing;
  return r;
}

}  // namespace

std::string_view name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

Isa parse_isa(std::string_view text) {
  std::string known;
  for (int i = 0; i < kIsaCount; ++i) {
    if (text == kNames[i]) return static_cast<Isa>(i);
    known += (i ? ", " : "") + std::string(kNames[i]);
  }
  fail("unknown ISA level '{}'; known: {}", text, known);
}

Isa IsaReport::best() const {
  for (int i = kIsaCount - 1; i > 0; --i)
    if (missing[i].empty()) return static_cast<Isa>(i);
  return Isa::reference;
}

std::string IsaReport::levels() const {
  std::string s;
  for (int i = 0; i < kIsaCount; ++i)
    if (missing[i].empty()) s += (i ? ", " : "") + std::string(kNames[i]);
  return s;
}

const IsaReport& isa_report() {
  static const IsaReport report = detect();
  return report;
}

Isa choose_isa(std::string_view asked) {
  std::string_view source = "isa";
  if (asked.empty()) {
    const char* forced = std::getenv("TOKAMAK_ISA");
    if (forced == nullptr || *forced == '\0') return isa_report().best();
    asked = forced;
    source = "TOKAMAK_ISA";
  }
  const Isa isa = parse_isa(asked);
  const IsaReport& report = isa_report();
  if (!report.has(isa))
    fail("{}={}: this machine cannot run that level: {}; it has: {}", source, asked,
         report.missing[static_cast<int>(isa)], report.levels());
  return isa;
}

std::string cpu_brand() {
  uint32_t words[12] = {};
  for (uint32_t i = 0; i < 3; ++i)
    if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                     &words[4 * i + 3]))
      return "x86-64 CPU";
  char text[sizeof(words) + 1] = {};
  std::memcpy(text, words, sizeof(words));
  std::string s = text;
  while (!s.empty() && s.back() == ' ') s.pop_back();
  const size_t first = s.find_first_not_of(' ');
  return first == std::string::npos ? "x86-64 CPU" : s.substr(first);
}

}  // namespace tokamak

// What a quantization changed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace tokamak {

struct QuantReport {
  int64_t quantized = 0, kept = 0;                     // tensors
  uint64_t quantized_before = 0, quantized_after = 0;  // their bytes
  uint64_t kept_bytes = 0;                             // as written
  std::string format;                                  // "int4a_g64"
  std::vector<std::string> notices;
  std::string table() const;  // several lines
};

}  // namespace tokamak

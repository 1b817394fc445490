// The numbers and fields of both kinds of format.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace tokamak::jinja {

constexpr int64_t kMaxWidth = 100'000, kMaxPrecision = 1'000;

// One directive, e.g. {:*>+8.2f} or %+8.2f.
struct FormatSpec {
  std::string fill = " ";
  char align = 0, sign = '-', type = 0;
  bool alternate = false, grouped = false, underscored = false;
  int64_t width = 0, precision = -1;
};

std::string digits_of(int64_t value, int base, bool upper);  // without a sign
std::string sign_text(bool negative, char sign);
// Pads a number; align '=' puts the fill between sign and digits.
std::string place(Heap& heap, const FormatSpec& s, const std::string& sign, const std::string& body,
                  char otherwise);
std::string format_int(Heap& heap, int64_t i, const FormatSpec& s);
std::string format_float(Heap& heap, double d, const FormatSpec& s);
// The digits at `pos`; raises beyond the limit.
int64_t read_number(std::string_view text, size_t& pos, int64_t limit);

}  // namespace tokamak::jinja

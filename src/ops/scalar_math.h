// The elementwise ops on one number, in double: the definition of each kind. Constant folding and
// tests use it; kernels have their own.
#pragma once
#include <string_view>

namespace tokamak {

double apply_unary(std::string_view kind, double x);
double apply_binary(std::string_view kind, double a, double b);

}  // namespace tokamak

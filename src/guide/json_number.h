// JSON numbers within bounds, as texts.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "guide/expr.h"

namespace tokamak::guide {

// Decimal numbers without an exponent; none: any of up to 15 digits before and behind the point,
// which every parser reads. Error, beginning with `where`, where nothing lies between the bounds.
struct NumberBounds {
  std::optional<double> least, most;
  bool above_least = false, below_most = false;  // the bound itself is out
};
ExprPtr bounded_number(const NumberBounds& bounds, const std::string& where);
// The same for integers: of up to 18 digits.
ExprPtr bounded_integer(const NumberBounds& bounds, const std::string& where);

// Any number, with an exponent of up to two digits.
ExprPtr any_number();
ExprPtr any_integer();

}  // namespace tokamak::guide

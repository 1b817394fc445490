// Reading arithmetic out of a graph: products and polynomials, whatever the order of operands and
// parentheses. Constants that people write with few digits compare with kConstantTolerance.
#pragma once
#include <map>

#include "graph/passes/rewrite.h"

namespace tokamak {

inline constexpr double kConstantTolerance = 2e-5;
bool close(double a, double b);  // relative

// constant * Π numerators / Π denominators. Multiplications whose result is used elsewhere, and
// those of vectors alone, stay factors of their own. Casts between floats are looked through: a
// fused op rounds once.
struct Product {
  double constant = 1;
  std::vector<ValueId> numerators, denominators;
};
Product product_of(const GraphIndex& index, const Node& root);

// The coefficients by degree when v is a polynomial in x of degree at most 4.
using Polynomial = std::map<int, double>;
std::optional<Polynomial> polynomial_of(const GraphIndex& index, ValueId v, ValueId x);

// x and k when v is x * k, k * x, x / (1/k), or -x.
struct Scaled {
  ValueId x;
  double k;
};
std::optional<Scaled> scaled(const GraphIndex& index, ValueId v);

// What stands before any casts between floats.
ValueId before_casts(const GraphIndex& index, ValueId v);

}  // namespace tokamak

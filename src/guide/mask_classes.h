// Nodes that no short text tells apart share their masks: most states of a string of at most a
// thousand characters are one, as long as a token cannot reach the thousandth.
#pragma once
#include <cstdint>
#include <vector>

#include "guide/grammar.h"

namespace tokamak::guide {

// For each node the first one of its class. Whatever is below them on the stack, nodes of a class
// take the same texts of at most `bytes` bytes, and leave their rule behind the same parts of them.
std::vector<int32_t> mask_classes(const Grammar& grammar, int32_t bytes);

}  // namespace tokamak::guide

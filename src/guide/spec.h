// From what a request asks for to rules.
#pragma once
#include "guide/expr.h"
#include "tokamak/guide.h"

namespace tokamak::guide {

// Error: see the parsers. A schema's or grammar's place is named.
Rules rules_of(const GuideSpec& spec);

}  // namespace tokamak::guide

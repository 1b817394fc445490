// Whether schemas can hold for one value together.
#pragma once
#include <string>

#include "guide/schema_merge.h"

namespace tokamak::guide {

// oneOf: Error, beginning with `where`, unless any two of the schemas differ in type, in their
// values, or in a property that one of them requires.
void require_disjoint(const OrderedJson& schemas, const SchemaMerger& merger,
                      const std::string& where);

}  // namespace tokamak::guide

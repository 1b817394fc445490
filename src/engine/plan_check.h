// Every invariant that the runtime relies on, checked once for each plan that is read: after it, no
// index, size or shape in the plan needs to be doubted.
#pragma once
#include "engine/plan.h"

namespace tokamak {

// Throws Error that names the value or step.
void check_plan(const Plan& plan);

// A network of its own inputs (Storage::input) instead of a language model.
bool is_network(const Plan& plan);

// Columns of a value (its last dimension; 1 for a scalar).
int64_t columns(const ValueType& type);
// A view with the leading dimensions of its base looks at columns; any other is a reshape.
bool is_column_view(const Plan& plan, int32_t value);
// Elements between rows: a column view keeps its base's.
int64_t row_stride(const Plan& plan, int32_t value);
// The activation, weight or input that the value's storage is in.
int32_t storage_root(const Plan& plan, int32_t value);

}  // namespace tokamak

#include <algorithm>

#include "backend/backend.h"

namespace tokamak {

void pack_rows(Backend& backend, const WeightLayout& layout, const TensorView& source,
               std::byte* packed, int64_t begin, int64_t end) {
  const int64_t unit = std::max<int64_t>(layout.row_granularity(), 1);
  backend.parallel([&](int worker, int workers) {
    const int64_t units = (end - begin + unit - 1) / unit;
    const int64_t from = begin + units * worker / workers * unit;
    const int64_t to = std::min(end, begin + units * (worker + 1) / workers * unit);
    if (from < to) layout.pack(source, packed, from, to);
  });
}

}  // namespace tokamak

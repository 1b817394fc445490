#include "backend/rope_tables.h"

namespace tokamak {

RopeTables::RopeTables(const RopeAttrs& attrs) : attrs_(attrs), base_(rope_table(attrs, 0)) {
  if (attrs.scaling.kind == "longrope")
    long_ = rope_table(attrs, attrs.scaling.original_max_position + 1);
}

const RopeTable& RopeTables::at(int64_t length, RopeTable& scratch) const {
  if (!rope_depends_on_length(attrs_)) return base_;
  if (attrs_.scaling.kind == "longrope")
    return length > attrs_.scaling.original_max_position ? long_ : base_;
  if (length <= attrs_.max_position) return base_;
  scratch = rope_table(attrs_, length);
  return scratch;
}

}  // namespace tokamak

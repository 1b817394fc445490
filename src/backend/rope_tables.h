// The rotary table of each sequence length, made once where it can be.
#pragma once
#include "ops/rope.h"

namespace tokamak {

class RopeTables {
 public:
  explicit RopeTables(const RopeAttrs& attrs);
  // For a sequence whose length with its context is `length`. `scratch` is filled only by kind
  // dynamic beyond the model's length, where every length has its own table.
  const RopeTable& at(int64_t length, RopeTable& scratch) const;
  const RopeTable& base() const { return base_; }
  // Of sequences beyond the length that the model was trained for first: kind longrope; else empty.
  const RopeTable& beyond() const { return long_; }

 private:
  RopeAttrs attrs_;
  RopeTable base_, long_;
};

}  // namespace tokamak

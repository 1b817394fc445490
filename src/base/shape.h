// Shape: up to 6 sizes, row-major, outermost first.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/error.h"

namespace tokamak {

class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    TOKAMAK_ASSERT(sizes.size() <= kMaxRank);
    for (int i = 0; i < rank_; ++i) sizes_[i] = sizes[i];
  }

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return sizes_[i < 0 ? i + rank_ : i]; }
  int64_t& operator[](int i) { return sizes_[i < 0 ? i + rank_ : i]; }
  int64_t back() const { return (*this)[-1]; }
  const int64_t* begin() const { return sizes_.data(); }
  const int64_t* end() const { return sizes_.data() + rank_; }
  // Number of elements; 1 for a scalar.
  int64_t elems() const {
    int64_t n = 1;
    for (int64_t s : *this) n *= s;
    return n;
  }
  // Elements over the last size: the number of rows.
  int64_t rows() const { return rank_ == 0 ? 1 : (back() == 0 ? 0 : elems() / back()); }
  bool operator==(const Shape& o) const { return std::equal(begin(), end(), o.begin(), o.end()); }
  // "[49152, 576]"
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string(sizes_[i]);
    return s + "]";
  }

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace tokamak

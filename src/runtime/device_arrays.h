// Arrays of plain values in device memory.
#pragma once
#include <vector>

#include "backend/backend.h"

namespace tokamak {

inline int32_t* ints(const Backend::Buffer& b) { return reinterpret_cast<int32_t*>(b.get()); }

template <typename T>
void upload(Backend& backend, const Backend::Buffer& to, const std::vector<T>& from) {
  backend.copy_in(to.get(), reinterpret_cast<const std::byte*>(from.data()),
                  from.size() * sizeof(T));
}

}  // namespace tokamak

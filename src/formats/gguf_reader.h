// Walks the bytes of one GGUF file: a cursor that cannot leave the file, and the values on its way.
#pragma once
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "formats/gguf.h"

namespace tokamak {

class GgufCursor {
 public:
  explicit GgufCursor(const MappedFile& file) : file_(file) {}
  size_t at() const { return at_; }
  size_t left() const { return file_.size() - at_; }
  std::span<const std::byte> take(size_t bytes, const char* what);
  template <typename T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }
  std::string_view text(const char* what);
  // A count of things of at least `min_bytes` each: more than the file can hold is refused.
  uint64_t count(size_t min_bytes, const char* what);
  std::span<const std::byte> since(size_t begin) const;
  GgufType type(const char* what);
  GgufValue value(std::string_view key);

 private:
  GgufArray array(std::string_view key, int depth);
  const MappedFile& file_;
  size_t at_ = 0;
};

// Bytes of one element of a number type.
size_t gguf_type_bytes(GgufType type);

}  // namespace tokamak

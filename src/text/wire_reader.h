// Reads the protobuf wire format: a bounded walk over (field number, value) pairs.
#pragma once
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace tokamak {

class WireReader {
 public:
  // `source` names the file in messages.
  WireReader(std::string_view bytes, const std::string& source) : rest_(bytes), source_(source) {}

  // Moves to the next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field_ = static_cast<uint32_t>(key >> 3);
    type_ = static_cast<int>(key & 7);
    if (key >> 32 || field_ == 0)
      fail("{}: not a protobuf message: field number {}", source_, key >> 3);
    switch (type_) {
      case 0:
        number_ = varint();
        break;
      case 1:
        number_ = fixed(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        number_ = fixed(4);
        break;
      default:
        fail("{}: not a protobuf message: wire type {} of field {}", source_, type_, field_);
    }
    return true;
  }

  uint32_t field() const { return field_; }
  // The field's value; Error when the file stores another wire type.
  uint64_t number() const { return expect(0), number_; }
  bool flag() const { return number() != 0; }
  int32_t int32() const { return static_cast<int32_t>(number()); }
  float float32() const { return expect(5), std::bit_cast<float>(static_cast<uint32_t>(number_)); }
  std::string_view bytes() const { return expect(2), bytes_; }

 private:
  void expect(int type) const {
    if (type_ != type)
      fail("{}: field {} has wire type {}, expected {}", source_, field_, type_, type);
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail("{}: not a protobuf message: a number of more than 10 bytes", source_);
  }
  uint64_t fixed(int n) {
    const std::string_view b = take(static_cast<uint64_t>(n));
    uint64_t value = 0;
    for (int i = 0; i < n; ++i)
      value |= static_cast<uint64_t>(static_cast<unsigned char>(b[i])) << (8 * i);
    return value;
  }
  std::string_view take(uint64_t n) {
    if (n > rest_.size())
      fail("{}: truncated: {} bytes expected, {} left", source_, n, rest_.size());
    const std::string_view part = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return part;
  }

  std::string_view rest_, bytes_;
  const std::string& source_;
  uint32_t field_ = 0;
  int type_ = 0;
  uint64_t number_ = 0;
};

}  // namespace tokamak

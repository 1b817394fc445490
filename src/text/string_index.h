// Piece → id over an array of strings that lives elsewhere: open addressing, looked up by
// string_view without building a string.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace tokamak {

inline uint64_t mix64(uint64_t a, uint64_t b) {
  const unsigned __int128 product =
      static_cast<unsigned __int128>(a ^ 0x9E3779B97F4A7C15ull) * (b ^ 0xD6E8FEB86659FD93ull);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_bytes(std::string_view s) {
  uint64_t hash = s.size();
  const char* p = s.data();
  size_t left = s.size();
  for (; left >= 8; p += 8, left -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    hash = mix64(hash, word);
  }
  uint64_t tail = 0;
  std::memcpy(&tail, p, left);
  return mix64(hash, tail);
}

class StringIndex {
 public:
  StringIndex() = default;
  // Indexes strings[i] → i; empty strings are left out, of equal ones the last one counts.
  explicit StringIndex(const std::vector<std::string>& strings) : strings_(&strings) {
    size_t capacity = 16;
    while (capacity < strings.size() * 2) capacity *= 2;
    slots_.assign(capacity, {0, -1});
    for (size_t i = 0; i < strings.size(); ++i) {
      if (!strings[i].empty()) insert(strings[i], static_cast<int32_t>(i));
    }
  }

  int32_t find(std::string_view key) const {  // -1: not there
    if (slots_.empty()) return -1;
    const uint64_t hash = hash_bytes(key);
    for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[i];
      if (slot.id < 0) return -1;
      if (slot.tag == static_cast<uint32_t>(hash >> 32) && (*strings_)[slot.id] == key) {
        return slot.id;
      }
    }
  }

 private:
  struct Slot {
    uint32_t tag;
    int32_t id;
  };
  void insert(std::string_view key, int32_t id) {
    const uint64_t hash = hash_bytes(key);
    for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[i];
      const auto tag = static_cast<uint32_t>(hash >> 32);
      if (slot.id < 0 || (slot.tag == tag && (*strings_)[slot.id] == key)) {
        slot = {tag, id};
        return;
      }
    }
  }
  const std::vector<std::string>* strings_ = nullptr;
  std::vector<Slot> slots_;
};

}  // namespace tokamak

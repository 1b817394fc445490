// Builds GGUF files in memory, field by field, right or wrong.
#pragma once
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "formats/gguf.h"

namespace tokamak {

class GgufBuilder {
 public:
  explicit GgufBuilder(uint32_t version = 3) : version_(version) {}

  template <typename T>
  static std::string bytes(T value) {
    std::string s(sizeof(T), '\0');
    std::memcpy(s.data(), &value, sizeof(T));
    return s;
  }
  static std::string text(std::string_view s) { return bytes<uint64_t>(s.size()) + std::string(s); }

  GgufBuilder& raw(std::string_view key, GgufType type, const std::string& value) {
    values_ += text(key) + bytes(static_cast<uint32_t>(type)) + value;
    ++value_count_;
    return *this;
  }
  GgufBuilder& add(std::string_view key, std::string_view value) {
    return raw(key, GgufType::string, text(value));
  }
  GgufBuilder& add(std::string_view key, uint32_t v) { return raw(key, GgufType::u32, bytes(v)); }
  GgufBuilder& add(std::string_view key, float v) { return raw(key, GgufType::f32, bytes(v)); }
  GgufBuilder& add_bool(std::string_view key, bool v) {
    return raw(key, GgufType::boolean, bytes<uint8_t>(v));
  }
  template <typename T>
  GgufBuilder& add_array(std::string_view key, GgufType type, const std::vector<T>& values) {
    std::string s = bytes(static_cast<uint32_t>(type)) + bytes<uint64_t>(values.size());
    for (const T& v : values) {
      if constexpr (std::is_same_v<T, std::string>)
        s += text(v);
      else
        s += bytes(v);
    }
    return raw(key, GgufType::array, s);
  }

  // ggml's number of the format; shape outermost first; data padded to the alignment.
  GgufBuilder& tensor(const std::string& name, uint32_t ggml_type, std::vector<uint64_t> shape,
                      const std::string& data) {
    infos_ += text(name) + bytes(static_cast<uint32_t>(shape.size()));
    for (auto it = shape.rbegin(); it != shape.rend(); ++it) infos_ += bytes<uint64_t>(*it);
    infos_ += bytes(ggml_type) + bytes<uint64_t>(data_.size());
    data_ += data;
    data_.resize((data_.size() + 31) / 32 * 32);
    ++tensor_count_;
    return *this;
  }

  std::string str() const {
    std::string s = "GGUF" + bytes(version_) + bytes<uint64_t>(tensor_count_) +
                    bytes<uint64_t>(value_count_) + values_ + infos_;
    s.resize((s.size() + 31) / 32 * 32);
    return s + data_;
  }

 private:
  uint32_t version_;
  uint64_t tensor_count_ = 0, value_count_ = 0;
  std::string values_, infos_, data_;
};

}  // namespace tokamak

#include "serve/kserve_tensors.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "serve/api_error.h"
#include "serve/fields.h"

namespace tokamak::serve {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are little-endian");

constexpr int64_t kMaxElements = 1 << 20;

[[noreturn]] void wrong(const std::string& name, const std::string& what) {
  throw ApiError(400, fmt::format("{}: {}", name, what), name, "invalid_value");
}

template <typename T>
Json numbers(std::string_view bytes, int64_t count) {
  Json out = Json::array();
  for (int64_t i = 0; i < count; ++i) {
    T v;
    std::memcpy(&v, bytes.data() + i * sizeof(T), sizeof(T));
    out.push_back(v);
  }
  return out;
}

Json strings(const std::string& name, std::string_view bytes, int64_t count) {
  Json out = Json::array();
  for (int64_t i = 0; i < count; ++i) {
    uint32_t size = 0;
    if (bytes.size() < 4) wrong(name, fmt::format("expected {} strings, found {}", count, i));
    std::memcpy(&size, bytes.data(), 4);
    bytes.remove_prefix(4);
    if (bytes.size() < size) wrong(name, fmt::format("string {} is cut off", i));
    out.push_back(std::string(bytes.substr(0, size)));
    bytes.remove_prefix(size);
  }
  if (!bytes.empty()) wrong(name, fmt::format("{} bytes follow the last string", bytes.size()));
  return out;
}

struct Type {
  const char* name;
  size_t size;
  Json (*read)(std::string_view, int64_t);
};
constexpr Type kTypes[] = {{"INT8", 1, numbers<int8_t>},     {"INT16", 2, numbers<int16_t>},
                           {"INT32", 4, numbers<int32_t>},   {"INT64", 8, numbers<int64_t>},
                           {"UINT8", 1, numbers<uint8_t>},   {"UINT16", 2, numbers<uint16_t>},
                           {"UINT32", 4, numbers<uint32_t>}, {"UINT64", 8, numbers<uint64_t>},
                           {"FP32", 4, numbers<float>},      {"FP64", 8, numbers<double>}};

}  // namespace

Json tensor_elements(const std::string& name, const std::string& datatype, int64_t count,
                     std::string_view bytes) {
  if (datatype == "BYTES") return strings(name, bytes, count);
  const auto check = [&](size_t size) {
    if (bytes.size() != size * static_cast<size_t>(count))
      wrong(name, fmt::format("{} elements of {} are {} bytes, found {}", count, datatype,
                              size * static_cast<size_t>(count), bytes.size()));
  };
  if (datatype == "BOOL") {
    check(1);
    Json out = Json::array();
    for (const char c : bytes) out.push_back(c != 0);
    return out;
  }
  for (const Type& t : kTypes) {
    if (datatype != t.name) continue;
    check(t.size);
    return t.read(bytes, count);
  }
  wrong(name, fmt::format("the datatype '{}' is not known", datatype));
}

bool is_element(const std::string& name, const std::string& datatype, const Json& value) {
  if (datatype == "BYTES") return value.is_string();
  if (datatype == "BOOL") return value.is_boolean();
  for (const Type& t : kTypes)
    if (datatype == t.name)
      return datatype.starts_with("FP") ? value.is_number()
                                        : value.is_number_integer() || as_integer(value);
  wrong(name, fmt::format("the datatype '{}' is not known", datatype));
}

std::string raw_strings(const std::vector<std::string>& strings) {
  std::string out;
  for (const std::string& s : strings) {
    const auto size = static_cast<uint32_t>(s.size());
    out.append(reinterpret_cast<const char*>(&size), 4).append(s);
  }
  return out;
}

int64_t element_count(const std::string& name, const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) {
    if (d < 0 || d > kMaxElements || (n *= d) > kMaxElements)
      wrong(name, "its shape has a negative number, or stands for too many elements");
  }
  return n;
}

}  // namespace tokamak::serve

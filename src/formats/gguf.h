// Reader of GGUF files, versions 2 and 3, mapped into memory: typed metadata and tensors. A model
// split over files ("NAME-00001-of-00003.gguf") opens whole by the name of its first part.
// Every count, length and offset is checked; errors name the file and the key or tensor.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "base/tensor.h"
#include "formats/safetensors.h"

namespace tokamak {

enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

// Text and arrays point into the mapped file, so opening a big vocabulary costs nothing.
struct GgufArray {
  GgufType type = GgufType::u8;           // of the elements
  std::vector<std::string_view> strings;  // type string
  std::vector<GgufArray> arrays;          // type array
  std::span<const std::byte> numbers;     // the other types, packed little-endian
  size_t count = 0;
};

struct GgufValue {
  GgufType type = GgufType::u8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
  std::span<const std::byte> raw;  // key, type and value as the file has them
};

class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  const TensorMap& tensors() const { return tensors_; }  // shapes outermost first, unlike the file
  const TensorView* find_tensor(const std::string& name) const;
  void release(std::span<const std::byte> part) const;

  // Getters: find_* returns nothing when the key is absent; the others throw then. A value of
  // another kind is always an Error.
  bool has(std::string_view key) const { return metadata_.contains(key); }
  std::optional<std::string> find_string(std::string_view key) const;
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_float(std::string_view key) const;  // also from integers
  std::optional<bool> find_bool(std::string_view key) const;
  std::string get_string(std::string_view key) const;
  int64_t get_int(std::string_view key) const;
  double get_float(std::string_view key) const;
  const std::vector<std::string_view>& get_strings(std::string_view key) const;
  std::vector<int64_t> get_ints(std::string_view key) const;   // array of any integer type or bool
  std::vector<double> get_floats(std::string_view key) const;  // array of any number type
  bool is_array(std::string_view key) const;

 private:
  void add_part(const std::filesystem::path& path, bool first);
  const GgufValue* find(std::string_view key) const;
  const GgufValue& get(std::string_view key) const;
  const GgufArray* find_array(std::string_view key) const;
  [[noreturn]] void wrong_type(std::string_view key, const char* expected) const;

  std::filesystem::path path_;
  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  TensorMap tensors_;
};

}  // namespace tokamak

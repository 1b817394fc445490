// The typed getters of GgufFile.
#include <cstring>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/gguf_reader.h"

namespace tokamak {
namespace {

template <typename Out, typename In>
void append_as(std::vector<Out>& out, std::span<const std::byte> bytes) {
  for (size_t at = 0; at + sizeof(In) <= bytes.size(); at += sizeof(In)) {
    In value;
    std::memcpy(&value, bytes.data() + at, sizeof(In));
    out.push_back(static_cast<Out>(value));
  }
}

// False when the elements are not of an integer type (or bool).
template <typename Out>
bool append_integers(std::vector<Out>& out, const GgufArray& a) {
  switch (a.type) {
    case GgufType::u8:
    case GgufType::boolean:
      append_as<Out, uint8_t>(out, a.numbers);
      return true;
    case GgufType::i8:
      append_as<Out, int8_t>(out, a.numbers);
      return true;
    case GgufType::u16:
      append_as<Out, uint16_t>(out, a.numbers);
      return true;
    case GgufType::i16:
      append_as<Out, int16_t>(out, a.numbers);
      return true;
    case GgufType::u32:
      append_as<Out, uint32_t>(out, a.numbers);
      return true;
    case GgufType::i32:
      append_as<Out, int32_t>(out, a.numbers);
      return true;
    case GgufType::u64:
      append_as<Out, uint64_t>(out, a.numbers);
      return true;
    case GgufType::i64:
      append_as<Out, int64_t>(out, a.numbers);
      return true;
    default:
      return false;
  }
}

}  // namespace

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : &it->second;
}

const GgufValue& GgufFile::get(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) fail("'{}' has no metadata '{}'", path_.string(), key);
  return *v;
}

void GgufFile::wrong_type(std::string_view key, const char* expected) const {
  fail("'{}': metadata '{}' is not {}", path_.string(), key, expected);
}

std::optional<std::string> GgufFile::find_string(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return {};
  const auto* text = std::get_if<std::string_view>(&v->value);
  if (!text) wrong_type(key, "a text");
  return std::string(*text);
}

std::optional<int64_t> GgufFile::find_int(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return {};
  if (const auto* i = std::get_if<int64_t>(&v->value)) return *i;
  const auto* u = std::get_if<uint64_t>(&v->value);
  if (!u || *u > INT64_MAX) wrong_type(key, "an integer");
  return static_cast<int64_t>(*u);
}

std::optional<double> GgufFile::find_float(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return {};
  if (const auto* d = std::get_if<double>(&v->value)) return *d;
  if (const auto* u = std::get_if<uint64_t>(&v->value)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<int64_t>(&v->value)) return static_cast<double>(*i);
  wrong_type(key, "a number");
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const GgufValue* v = find(key);
  if (!v) return {};
  const auto* b = std::get_if<bool>(&v->value);
  if (!b) wrong_type(key, "true or false");
  return *b;
}

std::string GgufFile::get_string(std::string_view key) const {
  get(key);
  return *find_string(key);
}
int64_t GgufFile::get_int(std::string_view key) const {
  get(key);
  return *find_int(key);
}
double GgufFile::get_float(std::string_view key) const {
  get(key);
  return *find_float(key);
}

const GgufArray* GgufFile::find_array(std::string_view key) const {
  const GgufValue* v = find(key);
  return v ? std::get_if<GgufArray>(&v->value) : nullptr;
}

bool GgufFile::is_array(std::string_view key) const { return find_array(key) != nullptr; }

const std::vector<std::string_view>& GgufFile::get_strings(std::string_view key) const {
  get(key);
  const GgufArray* a = find_array(key);
  if (!a || a->type != GgufType::string) wrong_type(key, "a list of texts");
  return a->strings;
}

std::vector<int64_t> GgufFile::get_ints(std::string_view key) const {
  get(key);
  const GgufArray* a = find_array(key);
  std::vector<int64_t> out;
  if (!a || !append_integers(out, *a)) wrong_type(key, "a list of integers");
  return out;
}

std::vector<double> GgufFile::get_floats(std::string_view key) const {
  get(key);
  const GgufArray* a = find_array(key);
  if (!a) wrong_type(key, "a list of numbers");
  std::vector<double> out;
  if (a->type == GgufType::f32)
    append_as<double, float>(out, a->numbers);
  else if (a->type == GgufType::f64)
    append_as<double, double>(out, a->numbers);
  else if (!append_integers(out, *a))
    wrong_type(key, "a list of numbers");
  return out;
}

}  // namespace tokamak

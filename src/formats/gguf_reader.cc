#include "formats/gguf_reader.h"

namespace tokamak {
namespace {

constexpr int kMaxArrayDepth = 3;

}  // namespace

size_t gguf_type_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      break;
  }
  TOKAMAK_ASSERT(!"not a number type");
  return 0;
}

std::span<const std::byte> GgufCursor::take(size_t bytes, const char* what) {
  if (bytes > left())
    fail("'{}': {} at byte {} needs {} bytes, but the file has {} more (truncated?)",
         file_.path().string(), what, at_, bytes, left());
  const auto part = file_.bytes().subspan(at_, bytes);
  at_ += bytes;
  return part;
}

std::string_view GgufCursor::text(const char* what) {
  const auto length = number<uint64_t>(what);
  const auto bytes = take(length, what);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

uint64_t GgufCursor::count(size_t min_bytes, const char* what) {
  const auto n = number<uint64_t>(what);
  if (n > left() / min_bytes)
    fail("'{}': {} is {}, more than the rest of the file can hold ({} bytes)",
         file_.path().string(), what, n, left());
  return n;
}

std::span<const std::byte> GgufCursor::since(size_t begin) const {
  return file_.bytes().subspan(begin, at_ - begin);
}

GgufType GgufCursor::type(const char* what) {
  const auto raw = number<uint32_t>(what);
  if (raw > static_cast<uint32_t>(GgufType::f64))
    fail("'{}': {} is {}, which is no GGUF value type", file_.path().string(), what, raw);
  return static_cast<GgufType>(raw);
}

GgufValue GgufCursor::value(std::string_view key) {
  GgufValue v;
  v.type = type("the type of a metadata value");
  const char* what = "a metadata value";
  switch (v.type) {
    case GgufType::u8:
      v.value = uint64_t{number<uint8_t>(what)};
      break;
    case GgufType::u16:
      v.value = uint64_t{number<uint16_t>(what)};
      break;
    case GgufType::u32:
      v.value = uint64_t{number<uint32_t>(what)};
      break;
    case GgufType::u64:
      v.value = number<uint64_t>(what);
      break;
    case GgufType::i8:
      v.value = int64_t{number<int8_t>(what)};
      break;
    case GgufType::i16:
      v.value = int64_t{number<int16_t>(what)};
      break;
    case GgufType::i32:
      v.value = int64_t{number<int32_t>(what)};
      break;
    case GgufType::i64:
      v.value = number<int64_t>(what);
      break;
    case GgufType::f32:
      v.value = double{number<float>(what)};
      break;
    case GgufType::f64:
      v.value = number<double>(what);
      break;
    case GgufType::boolean:
      v.value = number<uint8_t>(what) != 0;
      break;
    case GgufType::string:
      v.value = text(what);
      break;
    case GgufType::array:
      v.value = array(key, 0);
      break;
  }
  return v;
}

GgufArray GgufCursor::array(std::string_view key, int depth) {
  if (depth >= kMaxArrayDepth)
    fail("'{}': metadata '{}' nests arrays more than {} deep", file_.path().string(), key,
         kMaxArrayDepth);
  GgufArray a;
  a.type = type("the type of an array");
  if (a.type == GgufType::string) {
    a.count = count(8, "the length of an array");
    a.strings.reserve(a.count);
    for (size_t i = 0; i < a.count; ++i) a.strings.push_back(text("a text of an array"));
  } else if (a.type == GgufType::array) {
    a.count = count(12, "the length of an array");
    for (size_t i = 0; i < a.count; ++i) a.arrays.push_back(array(key, depth + 1));
  } else {
    const size_t bytes = gguf_type_bytes(a.type);
    a.count = count(bytes, "the length of an array");
    a.numbers = take(a.count * bytes, "an array");
  }
  return a;
}

}  // namespace tokamak

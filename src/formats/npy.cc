#include "formats/npy.h"

#include <bit>
#include <cstring>
#include <regex>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/atomic_output.h"

namespace tokamak {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr int64_t kMaxElems = int64_t{1} << 32;

struct Header {
  std::string descr;
  Shape shape;
  size_t data_begin = 0;
};

Shape parse_shape(const std::string& text, const std::string& source) {
  std::vector<int64_t> sizes;
  int64_t elems = 1;
  const std::regex number("[0-9]+");
  for (std::sregex_iterator it(text.begin(), text.end(), number), end; it != end; ++it) {
    if (it->length() > 10) fail("'{}': a size of {} is too large", source, it->str());
    sizes.push_back(std::stoll(it->str()));
    if (sizes.back() > 0 && elems > kMaxElems / sizes.back())
      fail("'{}': shape ({}) has too many elements", source, text);
    elems *= sizes.back();
  }
  if (sizes.size() > Shape::kMaxRank)
    fail("'{}': {} dimensions, at most {} are read", source, sizes.size(), Shape::kMaxRank);
  return Shape(sizes);
}

Header parse_header(std::span<const std::byte> bytes, const std::string& source) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  if (bytes.size() < 10 || std::string_view(text, kMagic.size()) != kMagic)
    fail("'{}' is not a .npy file", source);
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(text[i])); };
  const size_t prefix = text[6] == 1 ? 10 : 12;
  if (bytes.size() < prefix) fail("'{}' is cut off in its header", source);
  size_t length = byte(8) | byte(9) << 8;
  if (prefix == 12) length |= byte(10) << 16 | byte(11) << 24;
  if (length > bytes.size() - prefix || length > 4096)
    fail("'{}' is cut off in its header", source);
  const std::string header(text + prefix, length);
  std::smatch descr, shape;
  if (!std::regex_search(header, descr, std::regex("'descr': *'([^']*)'")) ||
      !std::regex_search(header, shape, std::regex("'shape': *\\(([^)]*)\\)")))
    fail("'{}': its header names no dtype and shape", source);
  if (header.find("'fortran_order': True") != std::string::npos)
    fail("'{}' is in Fortran order; save it in C order (numpy.ascontiguousarray)", source);
  return {descr[1], parse_shape(shape[1], source), prefix + length};
}

template <typename T>
void widen(const std::byte* from, std::vector<int64_t>& to) {
  for (size_t i = 0; i < to.size(); ++i) {
    T v;
    std::memcpy(&v, from + i * sizeof(T), sizeof(T));
    to[i] = static_cast<int64_t>(v);
  }
}

void write(const std::filesystem::path& path, const char* descr, const Shape& shape,
           const void* data, size_t bytes) {
  std::string sizes;
  for (int64_t s : shape) sizes += std::to_string(s) + ", ";
  std::string header =
      std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (" + sizes + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');
  const char prefix[] = {'\x93',
                         'N',
                         'U',
                         'M',
                         'P',
                         'Y',
                         1,
                         0,
                         static_cast<char>(header.size() & 255),
                         static_cast<char>(header.size() >> 8)};
  write_output(path, std::string(prefix, sizeof prefix) + header,
               {static_cast<const std::byte*>(data), bytes});
}

}  // namespace

NpyInts parse_npy_ints(std::span<const std::byte> bytes, const std::string& source) {
  const Header h = parse_header(bytes, source);
  const size_t width = h.descr.size() == 3 ? static_cast<size_t>(h.descr[2] - '0') : 0;
  const char kind = h.descr.size() == 3 ? h.descr[1] : '?';
  if ((kind != 'i' && kind != 'u') || !std::has_single_bit(width) || width > 8 || h.descr[0] == '>')
    fail(
        "'{}' holds '{}'; token ids must be little-endian integers (i1, i2, i4, i8, u1, u2, u4, "
        "u8)",
        source, h.descr);
  const auto n = static_cast<size_t>(h.shape.elems());
  if (n > (bytes.size() - h.data_begin) / width)
    fail("'{}': shape {} needs {} bytes, {} are there", source, h.shape.str(), n * width,
         bytes.size() - h.data_begin);
  NpyInts out{h.shape, std::vector<int64_t>(n)};
  const std::byte* data = bytes.data() + h.data_begin;
  const bool is_signed = kind == 'i';
  switch (width) {
    case 1:
      is_signed ? widen<int8_t>(data, out.values) : widen<uint8_t>(data, out.values);
      break;
    case 2:
      is_signed ? widen<int16_t>(data, out.values) : widen<uint16_t>(data, out.values);
      break;
    case 4:
      is_signed ? widen<int32_t>(data, out.values) : widen<uint32_t>(data, out.values);
      break;
    default:
      is_signed ? widen<int64_t>(data, out.values) : widen<uint64_t>(data, out.values);
  }
  return out;
}

NpyInts read_npy_ints(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_npy_ints(file.bytes(), path.string());
}

void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const float> values) {
  TOKAMAK_ASSERT(shape.elems() == static_cast<int64_t>(values.size()));
  write(path, "<f4", shape, values.data(), values.size_bytes());
}

void write_npy(const std::filesystem::path& path, const Shape& shape,
               std::span<const int32_t> values) {
  TOKAMAK_ASSERT(shape.elems() == static_cast<int64_t>(values.size()));
  write(path, "<i4", shape, values.data(), values.size_bytes());
}

}  // namespace tokamak

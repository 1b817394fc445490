#include "backend/cuda/stream/layout.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/half.h"

namespace tokamak {
namespace {

using cuda::StreamFormat;
using Codes = std::array<uint8_t, StreamFormat::kColumns>;

constexpr int kColumns = StreamFormat::kColumns, kRows = StreamFormat::kRows;

// Where the checkpoint keeps a row's groups: float16 scale (and minimum), then codes.
struct RowFormat {
  RowFormat(DType t, const StreamFormat& f, int64_t k)
      : format(f),
        columns(f.group == 0 || info(t).block_elems == 0 ? k : f.group),
        header(f.has_min ? 4 : 2),
        bytes(header + columns * f.bits / 8),
        halves(t == DType::q4_0 || t == DType::q4_1),
        flip(f.bits == 8 && !f.has_min ? 0x80 : 0) {}
  const StreamFormat format;
  const int64_t columns, header, bytes;  // of a group
  const bool halves;                     // bytes hold columns i and i + 16 of a group of 32
  const uint8_t flip;                    // signed codes become unsigned

  // Columns [begin, begin + count) of a row; begin is even.
  void get(const uint8_t* row, int64_t begin, int64_t count, uint8_t* to) const {
    while (count > 0) {
      const int64_t first = begin % columns, n = std::min(count, columns - first);
      const uint8_t* codes = row + begin / columns * bytes + header;
      if (format.bits == 8)
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<uint8_t>(codes[first + i] ^ flip);
      else if (halves)
        for (int64_t i = 0; i < n; ++i)
          to[i] = static_cast<uint8_t>(codes[(first + i) % 16] >> ((first + i) / 16 * 4) & 15);
      else
        for (int64_t i = 0; i < n; ++i)
          to[i] = static_cast<uint8_t>(codes[(first + i) / 2] >> (i % 2 * 4) & 15);
      begin += n;
      to += n;
      count -= n;
    }
  }
  void put(uint8_t* row, int64_t c, uint8_t code) const {  // nibbles are added to zeros
    uint8_t* codes = row + c / columns * bytes + header;
    const int64_t i = c % columns;
    const auto add = [](uint8_t& b, int v) { b = static_cast<uint8_t>(b | v); };
    if (format.bits == 8)
      codes[i] = static_cast<uint8_t>(code ^ flip);
    else if (halves)
      add(codes[i % 16], code << (i / 16 * 4));
    else
      add(codes[i / 2], code << (i % 2 * 4));
  }
};

uint16_t get16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }
void put16(uint8_t* p, uint16_t v) { std::memcpy(p, &v, 2); }

// Where row r of a tile keeps plane `plane` (scale, minimum) of a group of a block.
int64_t scale_place(const StreamFormat& f, int group, int plane, int64_t r) {
  return f.code_bytes() + ((int64_t{group} * f.scale_planes() + plane) * kRows + r) * 2;
}
int64_t row_scale_place(const StreamFormat& f, int64_t k, int64_t r) {
  return f.blocks(k) * f.block_bytes() + r * 4;
}

// Places of codes follow from the row and from the column, each by itself.
constexpr auto kBytePlaces = [] {
  std::array<uint16_t, kColumns> at{};
  for (int c = 0; c < kColumns; ++c)
    at[static_cast<size_t>(c)] = static_cast<uint16_t>(StreamFormat::byte_of(0, c));
  return at;
}();
constexpr auto kNibblePlaces = [] {
  std::array<uint16_t, kColumns> at{};
  for (int c = 0; c < kColumns; ++c)
    at[static_cast<size_t>(c)] = static_cast<uint16_t>(StreamFormat::nibble_of(0, c));
  return at;
}();

void pack_codes(const StreamFormat& f, const Codes& codes, int r, uint8_t* unit) {
  if (f.bits == 8) {
    uint8_t* row = unit + StreamFormat::byte_of(r, 0);
    for (size_t c = 0; c < kColumns; ++c) row[kBytePlaces[c]] = codes[c];
    return;
  }
  uint8_t* row = unit + StreamFormat::nibble_of(r, 0) / 2;
  for (size_t c = 0; c < kColumns; c += 16)  // columns c and c + 8 share a byte
    for (size_t i = c; i < c + 8; ++i)
      row[kNibblePlaces[i] / 2] = static_cast<uint8_t>(codes[i] | codes[i + 8] << 4);
}
uint8_t code_at(const StreamFormat& f, const uint8_t* unit, int r, int c) {
  if (f.bits == 8) return unit[StreamFormat::byte_of(r, c)];
  const int nibble = StreamFormat::nibble_of(r, c);
  return static_cast<uint8_t>(unit[nibble / 2] >> (nibble % 2 * 4) & 15);
}

// Row r of a tile whose padding is there.
void pack_row(const RowFormat& from, int64_t k, const uint8_t* row, uint8_t* tile, int r) {
  const StreamFormat& f = from.format;
  Codes codes;
  for (int64_t b = 0; b < f.blocks(k); ++b) {
    uint8_t* block = tile + b * f.block_bytes();
    codes.fill(f.bits == 8 ? 128 : 8);
    const int64_t begin = b * kColumns, count = std::min<int64_t>(kColumns, k - begin);
    from.get(row, begin, count, codes.data());
    pack_codes(f, codes, r, block + r / StreamFormat::kUnitRows * f.unit_bytes());
    for (int g = 0; g < f.groups() && begin + g * f.group < k; ++g)
      for (int plane = 0; plane < f.scale_planes(); ++plane)
        put16(block + scale_place(f, g, plane, r),
              get16(row + (begin + g * f.group) / from.columns * from.bytes + 2 * plane));
  }
  if (f.group == 0) {
    const float v = f16_to_f32(get16(row));
    std::memcpy(tile + row_scale_place(f, k, r), &v, 4);
  }
}

void unpack_row(const RowFormat& to, int64_t k, const uint8_t* tile, int r, uint8_t* row) {
  const StreamFormat& f = to.format;
  for (int64_t c = 0; c < k; ++c) {
    const uint8_t* block = tile + c / kColumns * f.block_bytes();
    to.put(row, c,
           code_at(f, block + r / StreamFormat::kUnitRows * f.unit_bytes(), r,
                   static_cast<int>(c % kColumns)));
  }
  if (f.group == 0) {
    float v;
    std::memcpy(&v, tile + row_scale_place(f, k, r), 4);
    put16(row, f32_to_f16(v));
    return;
  }
  for (int64_t g = 0; g * to.columns < k; ++g)
    for (int plane = 0; plane < f.scale_planes(); ++plane) {
      const int64_t c = g * to.columns;
      const uint8_t* block = tile + c / kColumns * f.block_bytes();
      const int in_block = static_cast<int>(c % kColumns / f.group);
      put16(row + g * to.bytes + 2 * plane, get16(block + scale_place(f, in_block, plane, r)));
    }
}

}  // namespace

std::optional<cuda::StreamFormat> stream_format(DType t) {
  if (t == DType::q4_0) return cuda::StreamFormat{4, 32, false};
  if (t == DType::q4_1) return cuda::StreamFormat{4, 32, true};
  if (t == DType::q8_0) return cuda::StreamFormat{8, 32, false};
  const GroupFormat g = group_format(t);
  if (g.bits == 0) return std::nullopt;
  return cuda::StreamFormat{g.bits, g.group == 0 && g.has_min ? 128 : g.group, g.has_min};
}

bool StreamLayout::supports(DType dtype, const Shape& shape) const {
  return shape.rank() == 2 && shape[1] > 0 && stream_format(dtype) && fits_row(dtype, shape[1]);
}

size_t StreamLayout::packed_bytes(DType dtype, const Shape& shape) const {
  return static_cast<size_t>(StreamFormat::tiles(shape[0]) *
                             stream_format(dtype)->tile_bytes(shape[1]));
}

void StreamLayout::pack(const TensorView& src, std::byte* dst, int64_t row_begin,
                        int64_t row_end) const {
  TOKAMAK_ASSERT(row_begin % kRows == 0 && row_begin <= row_end && row_end <= src.shape[0]);
  const StreamFormat f = *stream_format(src.dtype);
  const int64_t k = src.shape[1];
  const RowFormat from(src.dtype, f, k);
  const size_t tile_bytes = static_cast<size_t>(f.tile_bytes(k));
  for (int64_t row = row_begin; row < row_end; ++row) {
    auto* tile = reinterpret_cast<uint8_t*>(dst) + static_cast<size_t>(row / kRows) * tile_bytes;
    if (row % kRows == 0) std::memset(tile, 0, tile_bytes);
    const auto* bytes = reinterpret_cast<const uint8_t*>(src.data) +
                        static_cast<size_t>(row) * tokamak::row_bytes(src.dtype, k);
    pack_row(from, k, bytes, tile, static_cast<int>(row % kRows));
  }
}

void StreamLayout::unpack(DType dtype, const Shape& shape, const std::byte* packed,
                          std::byte* dst) const {
  const StreamFormat f = *stream_format(dtype);
  const int64_t k = shape[1];
  const RowFormat to(dtype, f, k);
  const size_t row_size = tokamak::row_bytes(dtype, k);
  std::memset(dst, 0, row_size * static_cast<size_t>(shape[0]));
  for (int64_t row = 0; row < shape[0]; ++row)
    unpack_row(to, k, reinterpret_cast<const uint8_t*>(packed) + row / kRows * f.tile_bytes(k),
               static_cast<int>(row % kRows),
               reinterpret_cast<uint8_t*>(dst) + static_cast<size_t>(row) * row_size);
}

}  // namespace tokamak

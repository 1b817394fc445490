#include "convert/row_stream.h"

#include <algorithm>
#include <cstring>

#include "base/block_codec.h"
#include "base/error.h"
#include "convert/sharding.h"
#include "quant/quantize_rows.h"

namespace tokamak {
namespace {

// Columns [begin, end) in whole blocks around a piece's own.
struct Span {
  int64_t begin, end;
  bool cut;
};

Span whole_blocks(const Piece& p) {
  const int64_t block = row_step(p.source->dtype);
  const int64_t begin = p.column / block * block;
  const int64_t end = (p.column + p.columns + block - 1) / block * block;
  return {begin, end, begin != p.column || end != p.column + p.columns};
}

const std::byte* place(const Piece& p, int64_t row, int64_t column) {
  const DType from = p.source->dtype;
  return p.source->data + static_cast<size_t>(row) * row_bytes(from, p.source_columns()) +
         row_bytes(from, column);
}

float scale_of_row(const Piece& p, int64_t row) {
  const TensorView& s = *p.scale;
  const auto size = static_cast<size_t>(info(s.dtype).block_bytes);
  float scale;
  dequantize_row(s.dtype, s.data + (s.shape.elems() == 1 ? 0 : static_cast<size_t>(row) * size),
                 &scale, 1);
  return scale;
}

}  // namespace

void RowStream::produce(const OutputTensor& tensor, int64_t first, int64_t count, std::byte* out) {
  const size_t row_bytes = tensor.row_bytes();
  int64_t done = 0;
  for (const Piece& piece : take_rows(tensor.pieces, first, count)) {
    std::byte* at = out + static_cast<size_t>(done) * row_bytes;
    if (tensor.dtype == DType::f8_row && piece.scale != nullptr)
      copy_fp8(piece, tensor, first + done, at);
    else if (is_block_format(tensor.dtype) && piece.source->dtype != tensor.dtype)
      quantize_piece(piece, tensor, first + done, at);
    else
      produce_piece(piece, tensor.dtype, at);
    done += piece.rows;
  }
  std::memset(out + static_cast<size_t>(done) * row_bytes, 0,
              static_cast<size_t>(count - done) * row_bytes);
}

void RowStream::produce_piece(const Piece& p, DType dtype, std::byte* out) {
  const int64_t width = p.source_columns();
  if (p.columns == width && p.paired_head == 0 && p.scale == nullptr) {  // one run
    convert_run(p, p.row, dtype, place(p, p.row, 0), p.rows * width, out);
    release_rows(p, p.row, p.row + p.rows);
    return;
  }
  const auto [begin, end, cut] = whole_blocks(p);  // more than wanted is converted, then cut off
  const size_t out_row = bytes_of(dtype, p.columns);
  std::vector<std::byte> wide(cut ? bytes_of(dtype, end - begin) : 0);
  int64_t low = INT64_MAX, high = 0;
  for (int64_t i = 0; i < p.rows; ++i, out += out_row) {
    const int64_t row = p.source_row(i);
    low = std::min(low, row);
    high = std::max(high, row + 1);
    convert_run(p, row, dtype, place(p, row, begin), end - begin, cut ? wide.data() : out);
    if (cut) std::memcpy(out, wide.data() + bytes_of(dtype, p.column - begin), out_row);
  }
  release_rows(p, low, high);
}

// first: the number of the first row in the tensor, for messages.
void RowStream::quantize_piece(const Piece& p, const OutputTensor& tensor, int64_t first,
                               std::byte* out) {
  const Span span = whole_blocks(p);
  int64_t low = INT64_MAX, high = 0;
  for (int64_t i = 0; i < p.rows; ++i, out += tensor.row_bytes()) {
    const int64_t row = p.source_row(i);
    low = std::min(low, row);
    high = std::max(high, row + 1);
    const float* values = read_run(p, row, place(p, row, span.begin), span.end - span.begin);
    quantize_weight_row(tensor.dtype, values + (p.column - span.begin), p.columns, out, tensor.name,
                        first + i);
  }
  release_rows(p, low, high);
}

// Codes as they are, each row with its scale.
void RowStream::copy_fp8(const Piece& p, const OutputTensor& tensor, int64_t first,
                         std::byte* out) {
  constexpr std::byte kNaN{0x7f};
  int64_t low = INT64_MAX, high = 0;
  for (int64_t i = 0; i < p.rows; ++i, out += tensor.row_bytes()) {
    const int64_t row = p.source_row(i);
    low = std::min(low, row);
    high = std::max(high, row + 1);
    const float scale = scale_of_row(p, row);
    std::memcpy(out, &scale, sizeof(scale));
    const std::byte* codes = place(p, row, p.column);
    for (int64_t c = 0; c < p.columns; ++c)
      if ((codes[c] & kNaN) == kNaN)
        fail("tensor '{}' holds NaN at row {}, column {}", tensor.name, first + i, c);
    std::memcpy(out + sizeof(scale), codes, static_cast<size_t>(p.columns));
  }
  release_rows(p, low, high);
}

void RowStream::release_rows(const Piece& p, int64_t low, int64_t high) const {
  if (low >= high) return;
  const std::byte* begin = place(p, low, 0);
  source_.release({begin, static_cast<size_t>(place(p, high, 0) - begin)});
}

void RowStream::convert_run(const Piece& p, int64_t row, DType dtype, const std::byte* in,
                            int64_t elems, std::byte* out) {
  const DType from = p.source->dtype;
  if (from == dtype && p.add == 0) {
    std::memcpy(out, in, bytes_of(from, elems));
    return;
  }
  TOKAMAK_ASSERT(!is_block_format(dtype));
  quantize_row(dtype, read_run(p, row, in, elems), out, elems);
}

// The values of a run, with what the rule adds.
const float* RowStream::read_run(const Piece& p, int64_t row, const std::byte* in, int64_t elems) {
  if (floats_.size() < static_cast<size_t>(elems)) floats_.resize(static_cast<size_t>(elems));
  dequantize_row(p.source->dtype, in, floats_.data(), elems);
  if (p.scale != nullptr) {
    const float scale = scale_of_row(p, row);
    for (int64_t i = 0; i < elems; ++i) floats_[static_cast<size_t>(i)] *= scale;
  }
  if (p.add != 0)
    for (int64_t i = 0; i < elems; ++i) floats_[static_cast<size_t>(i)] += p.add;
  return floats_.data();
}

}  // namespace tokamak

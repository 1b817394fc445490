#include "convert/row_stream.h"

#include <cstring>

#include "base/block_codec.h"
#include "base/error.h"
#include "convert/sharding.h"

namespace tokamak {

void RowStream::produce(const OutputTensor& tensor, int64_t first, int64_t count, std::byte* out) {
  const size_t row_bytes = tensor.row_bytes();
  int64_t done = 0;
  for (const Piece& piece : take_rows(tensor.pieces, first, count)) {
    produce_piece(piece, tensor.dtype, out + static_cast<size_t>(done) * row_bytes);
    done += piece.rows;
  }
  std::memset(out + static_cast<size_t>(done) * row_bytes, 0,
              static_cast<size_t>(count - done) * row_bytes);
}

void RowStream::produce_piece(const Piece& p, DType dtype, std::byte* out) {
  const int64_t width = p.source_columns();
  const DType from = p.source->dtype;
  const size_t in_row = row_bytes(from, width);
  if (p.columns == width && p.paired_head == 0) {  // one run
    const std::byte* in = p.source->data + static_cast<size_t>(p.row) * in_row;
    convert_run(p, dtype, in, p.rows * width, out);
    source_.release({in, static_cast<size_t>(p.rows) * in_row});
    return;
  }
  const int block = info(from).block_elems;
  // Columns that begin or end inside a block: the blocks around them are read, and more is cut off.
  const int64_t begin = p.column / block * block;
  const int64_t end = (p.column + p.columns + block - 1) / block * block;
  const bool cut = begin != p.column || end != p.column + p.columns;
  const size_t out_row = bytes_of(dtype, p.columns);
  std::vector<std::byte> wide(cut ? bytes_of(dtype, end - begin) : 0);
  int64_t low = INT64_MAX, high = 0;
  for (int64_t i = 0; i < p.rows; ++i, out += out_row) {
    const int64_t row = p.source_row(i);
    low = std::min(low, row);
    high = std::max(high, row + 1);
    const std::byte* in =
        p.source->data + static_cast<size_t>(row) * in_row + bytes_of(from, begin);
    convert_run(p, dtype, in, end - begin, cut ? wide.data() : out);
    if (cut) std::memcpy(out, wide.data() + bytes_of(dtype, p.column - begin), out_row);
  }
  if (low < high)
    source_.release({p.source->data + static_cast<size_t>(low) * in_row,
                     static_cast<size_t>(high - low) * in_row});
}

void RowStream::convert_run(const Piece& p, DType dtype, const std::byte* in, int64_t elems,
                            std::byte* out) {
  const DType from = p.source->dtype;
  if (from == dtype && p.add == 0) {
    std::memcpy(out, in, bytes_of(from, elems));
    return;
  }
  TOKAMAK_ASSERT(!is_block_format(dtype));
  if (floats_.size() < static_cast<size_t>(elems)) floats_.resize(static_cast<size_t>(elems));
  dequantize_row(from, in, floats_.data(), elems);
  if (p.add != 0)
    for (int64_t i = 0; i < elems; ++i) floats_[static_cast<size_t>(i)] += p.add;
  quantize_row(dtype, floats_.data(), out, elems);
}

}  // namespace tokamak

// Turns rows of a planned tensor into the bytes of the checkpoint.
#pragma once
#include <cstddef>
#include <vector>

#include "convert/plan.h"

namespace tokamak {

class RowStream {
 public:
  explicit RowStream(const ModelSource& source) : source_(source) {}
  // Rows [first, first + count) of `tensor` to `out` (count * row_bytes() bytes). The source's
  // pages are given back to the system.
  void produce(const OutputTensor& tensor, int64_t first, int64_t count, std::byte* out);

 private:
  void produce_piece(const Piece& piece, DType dtype, std::byte* out);
  void quantize_piece(const Piece& piece, const OutputTensor& tensor, int64_t first,
                      std::byte* out);
  void copy_fp8(const Piece& piece, const OutputTensor& tensor, int64_t first, std::byte* out);
  void convert_run(const Piece& piece, int64_t row, DType dtype, const std::byte* in, int64_t elems,
                   std::byte* out);
  // row: of the source; of FP8 the run is within it.
  const float* read_run(const Piece& piece, int64_t row, const std::byte* in, int64_t elems);
  void release_rows(const Piece& piece, int64_t low, int64_t high) const;
  const ModelSource& source_;
  std::vector<float> floats_;
};

}  // namespace tokamak

// What convert will write, worked out and checked completely before any byte is written.
#pragma once
#include <string>
#include <vector>

#include "convert/convert.h"
#include "convert/model_source.h"
#include "formats/checkpoint_writer.h"

namespace tokamak {

// `rows` rows and `columns` columns of a source tensor. Vectors are single columns. Row numbers
// count in the checkpoint's order: where paired_head > 0 the source holds the rows of each head
// with the elements of its two halves in turn, and source_row() finds them.
struct Piece {
  const TensorView* source = nullptr;
  int64_t row = 0, rows = 0;
  int64_t column = 0, columns = 1;
  int64_t paired_head = 0;
  float add = 0;
  const TensorView* scale = nullptr;  // of float8_e4m3: one number, or one for each source row

  int64_t source_columns() const { return source->shape.rank() == 1 ? 1 : source->shape[1]; }
  uint64_t matrix_bytes() const {  // in the source, cut blocks in proportion
    return source->row_bytes() * static_cast<uint64_t>(rows) * static_cast<uint64_t>(columns) /
           static_cast<uint64_t>(source_columns());
  }
  int64_t source_row(int64_t i) const {
    const int64_t r = row + i;
    if (paired_head == 0) return r;
    const int64_t head = r / paired_head, at = r % paired_head, half = paired_head / 2;
    return head * paired_head + 2 * (at % half) + at / half;
  }
};
using Pieces = std::vector<Piece>;

// Rows below the pieces' own are zeros (a padded vocabulary).
struct OutputTensor : CheckpointTensor {
  Pieces pieces;
};

struct ConvertPlan {
  ModelConfig config;                            // of the checkpoint
  std::vector<std::vector<OutputTensor>> ranks;  // tensors of each rank
  std::vector<std::string> warnings;
  QuantReport report;
  size_t bytes() const;
};

ConvertPlan make_plan(const ModelSource& source, const ConvertOptions& options);

}  // namespace tokamak

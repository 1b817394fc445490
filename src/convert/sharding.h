// How tensor and pipeline parallelism divide a model: the checks, and each rank's share.
#pragma once
#include "convert/plan.h"
#include "formats/model_config.h"

namespace tokamak {

// Throws Error naming the flag, the value found and the values that would do.
void check_sharding(const ModelConfig& config, int tp_size, int pp_size);

// The rows or columns [begin, begin + count) of rank `tp` of `tp_size`.
struct Share {
  int64_t begin = 0, count = 0;
  int64_t padding = 0;  // rows of zeros after them
};
Share share_of(const WeightRule& rule, const ModelConfig& config, int tp, int tp_size);

// Rows [begin, begin + count) of pieces that are joined by rows.
Pieces take_rows(const Pieces& pieces, int64_t begin, int64_t count);
Pieces take_columns(Pieces pieces, int64_t begin, int64_t count);

// Rows of the vocabulary on each rank; the last rank's are padded.
int64_t padded_vocabulary(const ModelConfig& config, int tp_size);

}  // namespace tokamak

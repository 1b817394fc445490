#include "backend/cpu/attention/decode_tile.h"
#include "backend/cpu/attention/pair_tile.h"
#include "backend/cpu/attention/prefill_tile.h"

namespace tokamak {
namespace {

constexpr AttentionKernels kKernels = {angles,  prepare_head, narrow,    widen, transpose,
                                       prefill, decode,       fetch_all, scale, &kPairs};

}  // namespace

const AttentionKernels& attention_kernels_amx() { return kKernels; }

}  // namespace tokamak

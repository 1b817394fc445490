#include "backend/cpu/attention/decode_tile.h"
#include "backend/cpu/attention/prefill_tile.h"

namespace tokamak {
namespace {

constexpr AttentionKernels kKernels = {angles,  prepare_head, narrow,    widen, transpose,
                                       prefill, decode,       fetch_all, scale};

}  // namespace

const AttentionKernels& attention_kernels_avx512() { return kKernels; }

}  // namespace tokamak

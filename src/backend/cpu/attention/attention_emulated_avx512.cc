// The AMX kernels over emulated tile registers: only tests use them.
#define TOKAMAK_EMULATE_TILES
#include "backend/cpu/attention/decode_tile.h"
#include "backend/cpu/attention/pair_tile.h"
#include "backend/cpu/attention/prefill_tile.h"

namespace tokamak {
namespace {

constexpr AttentionKernels kKernels = {angles,  prepare_head, narrow,    widen, transpose,
                                       prefill, decode,       fetch_all, scale, &kPairs};

}  // namespace

const AttentionKernels& attention_kernels_emulated() { return kKernels; }

}  // namespace tokamak

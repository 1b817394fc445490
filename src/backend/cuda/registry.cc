#include "backend/cuda/registry.h"

#include "backend/cuda/attention/split.h"
#include "backend/cuda/chain/chain.h"
#include "backend/cuda/cublaslt/linear.h"
#include "backend/cuda/fp8/late_scales.h"
#include "backend/cuda/fp8/linear.h"
#include "backend/cuda/fp8/stream.h"
#include "backend/cuda/reference/reference.h"
#include "backend/cuda/rows/linear.h"
#include "backend/cuda/skinny/linear.h"
#include "backend/cuda/stream/linear.h"
#include "backend/cuda/stream/unpacked.h"
#include "backend/cuda/strips/linear.h"
#include "backend/cuda/tiles/linear.h"
#include "backend/plain_layout.h"

namespace tokamak {

CudaRegistry make_cuda_registry(const CudaTarget& target, bool offline) {
  CudaRegistry r{{}, target, offline, std::make_shared<CodeStore>()};
  r.add_layout<PlainLayout>();
  add_cuda_reference_elementwise(r);
  add_cuda_chain(r);
  add_cuda_reference_rowwise(r);
  add_cuda_reference_moves(r);
  add_cuda_reference_attention(r);
  add_cuda_reference_lora(r);
  add_split_attention(r);
  add_cublaslt_linear(r);
  add_tile_linear(r);
  add_skinny_linear(r);
  add_f8_linear(r);
  add_f8_late_scales(r);
  add_f8_stream(r);
  add_unpacked_linear(r);
  add_stream_linear(r);
  add_strip_linear(r);
  add_rows_linear(r);
  return r;
}

}  // namespace tokamak

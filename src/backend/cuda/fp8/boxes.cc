#include "backend/cuda/fp8/boxes.h"

#include "base/error.h"

namespace tokamak {

BoxMaps::BoxMaps() : encode_(cuda::tensor_map_encoder()) {
  if (encode_ == nullptr)
    fail("the NVIDIA driver has no cuTensorMapEncodeTiled: one of CUDA 12 or later is needed");
}

CUtensorMap BoxMaps::units(const void* data, DType t, int64_t rows, int64_t width, int64_t stride,
                           int columns, int box_rows, int box_units) const {
  const auto unit = static_cast<cuuint64_t>(columns);
  const bool codes = t == DType::u8;
  const cuuint64_t bytes = codes ? 1 : 2;
  const CUtensorMapDataType type = codes              ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                                   : t == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                      : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const cuuint64_t sizes[] = {unit, static_cast<cuuint64_t>(rows),
                              static_cast<cuuint64_t>(width) / unit};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride) * bytes, unit * bytes};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(columns), static_cast<cuuint32_t>(box_rows),
                            static_cast<cuuint32_t>(box_units)};
  const cuuint32_t steps[] = {1, 1, 1};
  CUtensorMap map;
  const CUresult status =
      encode_(&map, type, 3, const_cast<void*>(data), sizes, strides, box, steps,
              CU_TENSOR_MAP_INTERLEAVE_NONE,
              unit * bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_128B,
              CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    fail("cuTensorMapEncodeTiled failed with status {}: matrix [{}, {}], stride {}",
         static_cast<int>(status), rows, width, stride);
  return map;
}

}  // namespace tokamak

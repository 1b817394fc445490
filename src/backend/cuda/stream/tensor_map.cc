#include "backend/cuda/stream/tensor_map.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace tokamak {

TensorMaps::TensorMaps() : encode_(cuda::tensor_map_encoder()) {
  if (encode_ == nullptr)
    fail("the NVIDIA driver has no cuTensorMapEncodeTiled: one of CUDA 12 or later is needed");
}

CUtensorMap TensorMaps::rows(const void* data, DType t, int64_t n, int64_t k) const {
  const auto width = static_cast<cuuint64_t>(k), height = static_cast<cuuint64_t>(n);
  const cuuint64_t sizes[] = {width, height, 1, 1};
  const cuuint64_t strides[] = {2 * width, 2 * width * height, 2 * width * height};
  const cuuint32_t box[] = {64, 128, 1, 1};
  return encode(data, t, sizes, strides, box);
}

CUtensorMap TensorMaps::paired_rows(const void* data, int64_t apart, DType t, int64_t n,
                                    int64_t k) const {
  const auto width = static_cast<cuuint64_t>(k);
  const cuuint64_t sizes[] = {width, 8, 2, static_cast<cuuint64_t>(n) / 8};
  const cuuint64_t strides[] = {2 * width, static_cast<cuuint64_t>(apart), 16 * width};
  const cuuint32_t box[] = {64, 8, 2, 8};
  return encode(data, t, sizes, strides, box);
}

CUtensorMap TensorMaps::boxes(const void* data, DType t, int64_t rows, int64_t k, int64_t stride,
                              int box_rows) const {
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(rows)};
  const cuuint32_t bytes = t == DType::u8 ? 1 : 2;
  const cuuint64_t strides[] = {bytes * static_cast<cuuint64_t>(stride)};
  const cuuint32_t box[] = {128 / bytes, static_cast<cuuint32_t>(box_rows)};
  return encode(data, t, sizes, strides, box);
}

CUtensorMap TensorMaps::encode(const void* data, DType t, std::span<const cuuint64_t> sizes,
                               std::span<const cuuint64_t> strides,
                               std::span<const cuuint32_t> box) const {
  CUtensorMap map;
  const CUtensorMapDataType type = t == DType::u8     ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                                   : t == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                      : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const cuuint32_t steps[] = {1, 1, 1, 1};
  const CUresult status = encode_(
      &map, type, static_cast<cuuint32_t>(sizes.size()), const_cast<void*>(data), sizes.data(),
      strides.data(), box.data(), steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status == CUDA_SUCCESS) return map;
  fail("cuTensorMapEncodeTiled failed with status {}: sizes {}, strides {}",
       static_cast<int>(status), fmt::join(sizes, " x "), fmt::join(strides, ", "));
}

}  // namespace tokamak

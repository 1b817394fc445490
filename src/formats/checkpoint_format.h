// How a checkpoint's safetensors file records tensors in GGUF blocks: stored as raw U8 rows
// [rows, row bytes]; the file's metadata maps "block:<name>" to "<dtype> <rows> <columns>".
#pragma once
#include <string>

#include "base/tensor.h"

namespace tokamak {

inline constexpr const char* kBlockKey = "block:";
inline constexpr const char* kCheckpointFormatKey = "tokamak.checkpoint";
inline constexpr const char* kCheckpointFormat = "1";

std::string describe_block_tensor(DType dtype, const Shape& shape);
// The logical view of a stored tensor; throws Error when record and stored size disagree.
TensorView logical_view(const TensorView& stored, const std::string& record,
                        const std::string& name, const std::string& file);

}  // namespace tokamak

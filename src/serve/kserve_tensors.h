// Values of KServe v2 tensors, and the bytes that stand for them on the wire.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace tokamak::serve {

// BOOL, INT8 … UINT64, FP32, FP64 or BYTES: `count` elements as a flat array. ApiError when the
// bytes do not fit.
Json tensor_elements(const std::string& name, const std::string& datatype, int64_t count,
                     std::string_view bytes);
// Whether an element given as JSON is one of the datatype; ApiError when that is not known.
bool is_element(const std::string& name, const std::string& datatype, const Json& value);
// Strings as bytes: each with its length in front, 4 bytes, little end first.
std::string raw_strings(const std::vector<std::string>& strings);
// Of a shape; ApiError when it is negative or too large.
int64_t element_count(const std::string& name, const std::vector<int64_t>& shape);

}  // namespace tokamak::serve

#include "backend/cuda/fp8/codes_linear.h"

#include "backend/cuda/cublaslt/layouts.h"
#include "backend/cuda/fp8/layout.h"
#include "backend/cuda/kernels/f8_format.h"

namespace tokamak {
namespace {

size_t aligned(size_t bytes) { return (bytes + 255) & ~size_t{255}; }
size_t weights_of(const OpSignature& s) { return s.op == Op::linear_glu ? 2 : 1; }

}  // namespace

const float* CodesLinear::scales_of(const std::byte* weight) const {
  return reinterpret_cast<const float*>(weight + cuda::F8Format::scales_at(n, k));
}

Codes CodesLinear::round_x(const LaunchArgs& args, const CodesPlace& place,
                           cudaStream_t stream) const {
  const Codes x{reinterpret_cast<uint8_t*>(args.workspace + place.codes),
                reinterpret_cast<float*>(args.workspace + place.scales)};
  cuda::quantize_f8_rows(in(0, args), static_cast<float>(attrs.x_scale), x.codes, x.scales, stream);
  return x;
}

ReadyX CodesLinear::ready_x(const LaunchArgs& args, bool codes, cudaStream_t stream) const {
  if (!codes) return {x_in_vectors(args, args.workspace, stream)};
  const int64_t tokens = in(0, args).rows;
  const Codes x = round_x(args, CodesPlace(0, tokens, k), stream);
  return {{x.codes, tokens, k, k, DType::u8}, x.scales};
}

CodesPlace::CodesPlace(size_t begin, int64_t tokens, int64_t k)
    : scales(begin),
      codes(scales + aligned(static_cast<size_t>(tokens) * sizeof(float))),
      end(codes + aligned(static_cast<size_t>(tokens * k))) {}

CodesRoom::CodesRoom(int64_t tokens, int64_t n, int64_t k, DType y, size_t products)
    : x(kMatmulWorkspace, tokens, k),
      product(x.end),
      product_bytes(aligned(bytes_of(y, tokens * n))),
      end(product + products * product_bytes) {}

CodesRoom::CodesRoom(const OpSignature& s, int64_t tokens, DType y)
    : CodesRoom(tokens, s.inputs[1].shape[0].size, s.inputs[1].shape[1].size, y, weights_of(s)) {}

bool codes_linear_fits(const CudaTarget& target, const OpSignature& s, int64_t n_unit) {
  const ValueType& w = s.inputs[1];
  const LinearAttrs a = LinearAttrs::from(s.attrs);
  if (target.sm != kCodesLinearSm || a.deterministic || a.activation_bits != 8) return false;
  if (w.dtype != DType::f8_row) return false;
  const int64_t n = w.shape[0].size, k = w.shape[1].size;
  if (k % cuda::F8Format::kColumns != 0 || k > kCodesMaxColumns || n % n_unit != 0) return false;
  return are_linear_operands(s);
}

std::string_view codes_linear_layout(const OpSignature& s, int input) {
  return input >= 1 && input <= static_cast<int>(weights_of(s)) ? kF8Layout : "plain";
}

}  // namespace tokamak

#include "backend/cuda/attention/split.h"

#include <algorithm>

#include "backend/cuda/attention/attention_arg.h"
#include "backend/cuda/kernels/decode_attention.h"
#include "backend/cuda/kernels/decode_many.h"
#include "backend/cuda/kernels/prefill_attention.h"
#include "base/error.h"

namespace tokamak {
namespace {

// Divides contexts so that the blocks fill the device once; what a graph has frozen is the upper
// bound of the contexts, and a shorter context takes fewer parts.
cuda::DecodeSplit split_of(const CudaTarget& target, const cuda::AttentionArg& a,
                           const cuda::StepArg& step) {
  constexpr int kMinTiles = 4;  // one for each warp
  const bool clusters = target.sm >= 90;
  const int group = a.heads / a.kv_heads;
  const int tiles = (group + cuda::kDecodeRows - 1) / cuda::kDecodeRows;
  const int units = step.sequences * a.kv_heads * tiles;
  const int most = std::max(1, (step.max_context - 1) / (kMinTiles * cuda::kDecodeTile) + 1);
  cuda::DecodeSplit s;
  s.min_tiles = kMinTiles;
  s.multiprocessors = target.multiprocessors;
  constexpr int kLong = 8192;  // from here on a second launch, which joins, is worth its while
  constexpr int kHalf = 1024;  // keys from which on half a context is worth a block of its own
  const int room = 3 * target.multiprocessors;
  s.parts = std::clamp(room / std::max(units, 1), 1, most);
  if (clusters && step.max_context <= kLong) s.parts = std::min(s.parts, cuda::kMaxClusterParts);
  if (clusters && s.parts == 1 && units < 4 * room && step.max_context >= 2 * kHalf) {
    s.parts = 2;  // evens out the last round of blocks
    s.min_tiles = kHalf / cuda::kDecodeTile;
  }
  if (clusters && s.parts <= cuda::kMaxClusterParts) {
    s.clustered = true;
  } else if (s.parts > 1) {
    s.parts = std::clamp(cuda::kMaxPartialBlocks / units, 1, s.parts);
    s.min_tiles = 4 * kMinTiles;
  }
  return s;
}

// Whether a warp for each KV head of a sequence keeps the memory busy: a fourth of a
// multiprocessor's share is what one can fetch. Of long contexts the last ones would be left alone
// for long, unless there are many.
bool are_many(const CudaTarget& target, const cuda::AttentionArg& a, const cuda::StepArg& step) {
  constexpr int kLeast = 4, kMost = 24;           // heads of sequences, of a multiprocessor
  constexpr int kShort = 1024, kModerate = 4096;  // keys
  const int64_t heads = int64_t{step.sequences} * a.kv_heads;
  return cuda::decode_many_fits(a) && heads >= kLeast * target.multiprocessors &&
         (step.max_context <= kShort ||
          (step.max_context <= kModerate && heads >= kMost * target.multiprocessors));
}

class SplitAttention final : public Kernel {
 public:
  SplitAttention(const OpSignature& s, const CudaTarget& target) : bound_(s), target_(target) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const cuda::AttentionArg a = bound_.arg(args);
    const cuda::StepArg step = step_arg(*args.step);
    const cudaStream_t stream = static_cast<CudaExec&>(exec).stream;
    if (step.tokens == 0) return;
    const bool deterministic = bound_.attrs().deterministic;  // one kernel for all, then
    const bool prompts = deterministic || !cuda::is_decode(step.max_queries, a.heads / a.kv_heads);
    if (!cuda::decode_attention_fits(a) ||
        (prompts && (target_.sm != 90 || !cuda::prefill_attention_fits(a))))
      return cuda::attention(a, step, stream);
    if (prompts) {
      const cuda::PrefillQueries queries = cuda::prefill_prepare(
          a, step, args.workspace + cuda::decode_partial_bytes(a.head_dim), deterministic, stream);
      if (!cuda::prefill_attention(a, step, queries, stream))
        fail("the CUDA driver cannot describe the KV cache (blocks of {} tokens) to the device",
             a.block_size);
      if (step.sequences == 1 || deterministic) return;
    }
    if (are_many(target_, a, step))
      return cuda::decode_many(a, step, target_.multiprocessors, stream);
    cuda::DecodeSplit split = split_of(target_, a, step);
    split.partial = reinterpret_cast<float*>(args.workspace);
    cuda::decode_attention(a, step, split, stream);
  }

 private:
  const BoundAttention bound_;
  const CudaTarget target_;
};

class SplitTactic final : public CudaTactic {
 public:
  explicit SplitTactic(const CudaTarget& target)
      : CudaTactic("attention.split", Op::attention, 80, target) {}
  size_t workspace_bytes(const OpSignature& s, int64_t tokens) const override {
    const auto heads = static_cast<int>(s.attrs.get<int64_t>("heads")),
               kv_heads = static_cast<int>(s.attrs.get<int64_t>("kv_heads")),
               head_dim = static_cast<int>(s.attrs.get<int64_t>("head_dim"));
    return cuda::decode_partial_bytes(head_dim) +
           cuda::prefill_workspace_bytes(tokens, heads, kv_heads, head_dim);
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<SplitAttention>(s, target_);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    for (size_t i = 0; i < s.inputs.size(); ++i)
      if (i != 3 && !is_cuda_activation(s.inputs[i].dtype)) return false;
    const int64_t d = s.attrs.get<int64_t>("head_dim");
    return d % 8 == 0 && d >= 16 && d <= 256;
  }
};

}  // namespace

void add_split_attention(CudaRegistry& r) { r.add<SplitTactic>(r.target); }

}  // namespace tokamak

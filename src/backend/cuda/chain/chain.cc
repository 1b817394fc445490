#include "backend/cuda/chain/chain.h"

#include <algorithm>

#include "backend/cuda/chain/nvrtc.h"
#include "backend/cuda/chain/source.h"
#include "backend/cuda/check.h"
#include "backend/cuda/kernels/chain.h"
#include "backend/cuda/reference/reference.h"
#include "backend/cuda/row_map.h"
#include "base/log.h"

namespace tokamak {

void CodeStore::add(const CompiledCode& code) {
  const std::lock_guard lock(mutex_);
  images_[code.key] = code.bytes;
}

bool CodeStore::has(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return images_.count(key) != 0;
}

std::string CodeStore::get(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto it = images_.find(key);
  return it == images_.end() ? std::string() : it->second;
}

namespace {

cudaStream_t stream_of(ExecContext& exec) { return static_cast<CudaExec&>(exec).stream; }

cuda::ChainCode code_of(const Chain& chain, size_t inputs) {
  using Code = cuda::ChainCode;
  Code code{};
  code.steps = static_cast<int>(chain.steps.size());
  code.inputs = static_cast<int>(inputs);
  code.outputs = static_cast<int>(chain.outputs.size());
  for (size_t i = 0; i < chain.steps.size(); ++i) {
    const ChainStep& s = chain.steps[i];
    Code::Step& to = code.step_list[i];
    to.function = takes_two(s.op)               ? Code::pair
                  : s.op == ChainOp::round_f16  ? Code::round_f16
                  : s.op == ChainOp::round_bf16 ? Code::round_bf16
                                                : Code::map;
    const ChainOp first = takes_two(s.op) ? ChainOp::add : ChainOp::neg;
    to.kind = static_cast<int8_t>(static_cast<int>(s.op) - static_cast<int>(first));
    to.a = static_cast<int8_t>(s.a.kind);
    to.b = static_cast<int8_t>(s.b.kind);
    to.a_index = static_cast<int16_t>(s.a.index);
    to.b_index = static_cast<int16_t>(s.b.index);
    to.a_value = static_cast<float>(s.a.value);
    to.b_value = static_cast<float>(s.b.value);
  }
  for (size_t i = 0; i < chain.outputs.size(); ++i) code.result[i] = chain.outputs[i].step;
  return code;
}

static_assert(cuda::ChainCode::kMaxSteps == kChainMaxSteps &&
              cuda::ChainCode::kMaxInputs == kChainMaxInputs &&
              cuda::ChainCode::kMaxOutputs == kChainMaxOutputs);
static_assert(static_cast<int>(cuda::MapKind::relu) == static_cast<int>(ChainOp::relu));
static_assert(static_cast<int>(cuda::PairKind::min) ==
              static_cast<int>(ChainOp::min) - static_cast<int>(ChainOp::add));
static_assert(static_cast<int>(cuda::ChainCode::step) == static_cast<int>(ChainOperand::step));

class InterpretedChain final : public Kernel {
 public:
  explicit InterpretedChain(const OpSignature& s)
      : s_(s), code_(code_of(Chain::parse(s.attrs.get<std::string>("code")), s.inputs.size())) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    cuda::ChainRows rows;
    for (size_t i = 0; i < s_.inputs.size(); ++i) {
      rows.in[i] = rows_arg(s_.inputs[i], args.in[i], *args.step);
      rows.map[i] = row_map(s_.inputs[i].shape, s_.outputs[0].shape, *args.step);
    }
    for (size_t i = 0; i < s_.outputs.size(); ++i)
      rows.out[i] = rows_arg(s_.outputs[i], args.out[i], *args.step);
    cuda::chain(code_, rows, stream_of(exec));
  }

 private:
  const OpSignature s_;
  const cuda::ChainCode code_;
};

// An image in device memory.
class LoadedImage {
 public:
  explicit LoadedImage(const std::string& image) {
    TOKAMAK_CUDA(
        cudaLibraryLoadData(&library_, image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  }
  ~LoadedImage() { cudaLibraryUnload(library_); }
  LoadedImage(const LoadedImage&) = delete;
  LoadedImage& operator=(const LoadedImage&) = delete;
  const void* kernel(const char* name) const {
    cudaKernel_t k = nullptr;
    TOKAMAK_CUDA(cudaLibraryGetKernel(&k, library_, name));
    return reinterpret_cast<const void*>(k);
  }

 private:
  cudaLibrary_t library_ = nullptr;
};

class CompiledChain final : public Kernel {
 public:
  CompiledChain(const OpSignature& s, const std::string& image, const CudaTarget& target)
      : s_(s),
        image_(image),
        one_(image_.kernel("chain1")),
        eight_(has_chain_vectors(s) ? image_.kernel("chain8") : nullptr),
        overlaps_(target.sm >= 90),
        most_blocks_(static_cast<int64_t>(target.multiprocessors) * 16) {}

  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    ChainKernelArg a{};
    bool vectors = eight_ != nullptr;
    const auto set = [&](size_t at, const ValueType& t, const Operand& o) {
      const cuda::RowsArg r = rows_arg(t, o, *args.step);
      a.data[at] = r.data;
      a.stride[at] = r.stride;
      const auto bytes = static_cast<int64_t>(row_bytes(t.dtype, 1));
      const bool stretched = r.width == 1;
      vectors = vectors && (stretched || (reinterpret_cast<uintptr_t>(r.data) % 16 == 0 &&
                                          r.stride * bytes % 16 == 0));
      a.rows = r.rows;
    };
    for (size_t i = 0; i < s_.inputs.size(); ++i) set(i, s_.inputs[i], args.in[i]);
    for (size_t i = 0; i < s_.outputs.size(); ++i)
      set(kChainMaxInputs + i, s_.outputs[i], args.out[i]);
    const int64_t vector = vectors ? kChainVector : 1;
    const int64_t n = a.rows * cuda_width(s_.outputs[0]) / vector;
    if (n > 0) start(vectors ? eight_ : one_, n, a, stream_of(exec));
  }

 private:
  void start(const void* kernel, int64_t threads, ChainKernelArg& a, cudaStream_t stream) const {
    cudaLaunchConfig_t config{};
    const int64_t blocks = (threads + kChainThreads - 1) / kChainThreads;
    config.gridDim = dim3(static_cast<unsigned>(std::min(blocks, most_blocks_)));
    config.blockDim = dim3(kChainThreads);
    config.stream = stream;
    cudaLaunchAttribute attribute{};  // kernels/launch.cuh
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &attribute;
    config.numAttrs = overlaps_ ? 1 : 0;
    void* params[] = {&a};
    TOKAMAK_CUDA(cudaLaunchKernelExC(&config, kernel, params));
  }

  const OpSignature s_;
  const LoadedImage image_;
  const void *one_, *eight_;
  const bool overlaps_;
  const int64_t most_blocks_;
};

uint64_t hash(const std::string& text) {  // FNV-1a: the same everywhere
  uint64_t h = 1469598103934665603ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

class CompiledTactic final : public CudaTactic {
 public:
  CompiledTactic(const CudaTarget& target, std::shared_ptr<CodeStore> store)
      : CudaTactic("chain.compiled", Op::chain, 80, target),
        store_(std::move(store)),
        rtc_(Nvrtc::load(&why_)) {}

  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    const std::string source = chain_source(s, target_.sm), key = key_of(source);
    const std::string kept = store_->get(key);
    if (!kept.empty() && rtc_) {
      try {
        return std::make_unique<CompiledChain>(s, kept, target_);
      } catch (const Error& e) {
        log::warning("a compiled kernel of the engine cannot be loaded ({}): compiled anew",
                     e.what());
        cudaGetLastError();
        return std::make_unique<CompiledChain>(s, compile(source, key), target_);
      }
    }
    return std::make_unique<CompiledChain>(s, image_of(source, key), target_);
  }

  std::vector<CompiledCode> compiled_code(const OpSignature& s) const override {
    const std::string source = chain_source(s, target_.sm), key = key_of(source);
    return {{key, image_of(source, key)}};
  }

 protected:
  bool fits(const OpSignature& s) const override {
    if (!has_chain_source(s)) return false;
    if (rtc_ || store_->has(key_of(chain_source(s, target_.sm)))) return true;
    std::call_once(warned_, [&] {
      log::warning(
          "NVRTC is not there ({}), which compiles chains of elementwise ops: they are "
          "interpreted, "
          "which is slower",
          why_);
    });
    return false;
  }

 private:
  std::string key_of(const std::string& source) const {
    return fmt::format("chain sm_{} {:016x}", target_.sm, hash(source));
  }
  std::string compile(const std::string& source, const std::string& key) const {
    std::string image = rtc_->compile(source, target_.sm);
    store_->add({key, image});
    return image;
  }
  std::string image_of(const std::string& source, const std::string& key) const {
    std::string image = store_->get(key);
    return image.empty() ? compile(source, key) : image;
  }

  const std::shared_ptr<CodeStore> store_;
  std::string why_;
  const std::shared_ptr<const Nvrtc> rtc_;
  mutable std::once_flag warned_;
};

bool fits_any(const OpSignature& s) {
  return s.outputs[0].shape.size() <= cuda::RowMap::kMaxDims + 1;
}

}  // namespace

void add_cuda_chain(CudaRegistry& r) {
  r.add<CudaSimpleTactic>(Op::chain, r.target, fits_any, bind_cuda<InterpretedChain>);
  r.add<CompiledTactic>(r.target, r.code);
}

}  // namespace tokamak

// A CUDA device as a backend: one stream, launches in order.
#include <dlfcn.h>

#include <algorithm>
#include <thread>

#include "backend/cuda/chain/chain.h"
#include "backend/cuda/check.h"
#include "backend/cuda/cuda_tactic.h"
#include "backend/cuda/limits.h"
#include "backend/cuda/plugin/plugin.h"
#include "backend/cuda/registry.h"
#include "backend/cuda/sampling/sampler.h"
#include "backend/cuda/upload.h"
#include "backend/cuda/weight_copies.h"
#include "backend/cuda_plugin.h"

namespace tokamak {
namespace {

CudaTarget target_of(const cudaDeviceProp& p) {
  CudaTarget t;
  t.sm = 10 * p.major + p.minor;
  t.multiprocessors = p.multiProcessorCount;
  t.l2_bytes = static_cast<size_t>(p.l2CacheSize);
  return t;
}

// Error: no driver, no device, one too old, each said in its own words.
cudaDeviceProp open_device(int device) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver)
    fail("the NVIDIA driver is missing or older than this program's CUDA {}.{} needs",
         CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
    fail("--device cuda: this machine has no NVIDIA GPU that this process may use");
  cuda_check(status, "cudaGetDeviceCount");
  if (device < 0 || device >= count)
    fail("CUDA device {} was asked for, this machine has {}", device, count);
  TOKAMAK_CUDA(cudaSetDevice(device));
  cudaDeviceProp p;
  TOKAMAK_CUDA(cudaGetDeviceProperties(&p, device));
  if (p.major < 8)
    fail("'{}' has compute capability {}.{}; at least 8.0 is needed", p.name, p.major, p.minor);
  return p;
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : offline_(options.offline), device_(options.device) {
    CudaTarget target;
    if (offline_) {
      target.sm = options.sm;
      properties_.name =
          fmt::format("no device, for compute capability {}.{}", options.sm / 10, options.sm % 10);
    } else {
      const cudaDeviceProp p = open_device(options.device);
      target = target_of(p);
      properties_.name = p.name;
      properties_.memory_bytes = p.totalGlobalMem;
      TOKAMAK_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    }
    properties_.isa = fmt::format("sm_{}", target.sm);
    properties_.key =
        fmt::format("{}; {}; CUDA {}", properties_.name, properties_.isa, CUDART_VERSION);
    registry_ = make_cuda_registry(target, offline_);
  }
  ~CudaBackend() override {
    if (stream_) cudaStreamDestroy(stream_);
  }

  std::string_view name() const override { return "cuda"; }
  const DeviceProperties& properties() const override { return properties_; }
  DeviceLimits measure_limits() override {
    need_device();
    if (!measured_) limits_ = measure_cuda_limits(stream_, registry_.target);
    measured_ = true;
    return limits_;
  }
  DType activation_dtype(DType checkpoint) const override {
    return checkpoint == DType::f16 || checkpoint == DType::bf16 ? checkpoint : DType::f32;
  }

  std::span<const Tactic* const> tactics(Op op) const override { return registry_.tactics(op); }
  const WeightLayout* layout(std::string_view name) const override {
    return registry_.layout(name);
  }
  void add_plugin(std::shared_ptr<const PluginLibrary> library) override {
    tokamak::add_plugin(registry_, library);
  }
  void add_code(std::span<const CompiledCode> code) override {
    for (const CompiledCode& c : code) registry_.code->add(c);
  }

  Buffer allocate(size_t bytes) override {
    need_device();
    void* p = nullptr;
    const cudaError_t status = cudaMalloc(&p, std::max<size_t>(bytes, 1));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is reported here, not by the next launch
      size_t left = 0, total = 0;
      TOKAMAK_CUDA(cudaMemGetInfo(&left, &total));
      fail("cannot allocate {} MiB of GPU memory: {} of {} MiB are free", (bytes >> 20) + 1,
           left >> 20, total >> 20);
    }
    cuda_check(status, "cudaMalloc");
    use_.allocated += bytes;
    use_.peak = std::max(use_.peak, use_.allocated);
    return Buffer(static_cast<std::byte*>(p), Deleter{this, bytes});
  }
  void release(std::byte* p, size_t bytes) override {
    cudaPointerAttributes a{};
    if (cudaPointerGetAttributes(&a, p) == cudaSuccess && a.type == cudaMemoryTypeHost) {
      cudaFreeHost(p);
      return;
    }
    cudaFree(p);
    use_.allocated -= bytes;
  }
  std::optional<MemoryUse> memory_use() const override {
    if (offline_) return std::nullopt;
    MemoryUse use = use_;
    TOKAMAK_CUDA(cudaMemGetInfo(&use.free, &use.total));
    return use;
  }
  Buffer allocate_shared(size_t bytes) override {
    need_device();
    void* p = nullptr;
    TOKAMAK_CUDA(cudaHostAlloc(&p, std::max<size_t>(bytes, 1), cudaHostAllocDefault));
    return Buffer(static_cast<std::byte*>(p), Deleter{this, bytes});
  }
  DeviceSampler* sampler() override {
    need_device();
    if (!sampler_) sampler_ = make_cuda_sampler(stream_);
    return sampler_.get();
  }
  void copy_in(std::byte* device, const std::byte* host, size_t bytes) override {
    copy(device, host, bytes);
  }
  void copy_in_order(std::byte* device, const std::byte* shared, size_t bytes) override {
    need_device();
    TOKAMAK_CUDA(cudaMemcpyAsync(device, shared, bytes, cudaMemcpyHostToDevice, stream_));
  }
  void copy_out(std::byte* host, const std::byte* device, size_t bytes) override {
    copy(host, device, bytes);
  }
  void fill(std::span<const Piece> pieces,
            const std::function<void(size_t, std::byte*)>& write) override {
    need_device();
    synchronize();
    upload_pieces(device_, pieces, write);
  }
  void run(std::span<const BoundLaunch> launches, std::byte* workspace, const StepContext& step,
           std::span<double> times_us) override;
  void parallel(const std::function<void(int, int)>& fn) override;
  void enqueue(std::span<const BoundLaunch> launches, std::byte* workspace,
               const StepContext& step) override;
  void synchronize() override { TOKAMAK_CUDA(cudaStreamSynchronize(stream_)); }
  bool idle() override;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;
  void replay(const Recording& recording) override;

 private:
  void need_device() const {
    if (offline_) fail("this CUDA backend was opened without a device: it can build, not run");
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) {
    need_device();
    TOKAMAK_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
    TOKAMAK_CUDA(cudaStreamSynchronize(stream_));
  }

  const bool offline_;
  const int device_;
  MemoryUse use_;
  DeviceProperties properties_;
  CudaRegistry registry_;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<DeviceSampler> sampler_;
  WeightCopies copies_;
  DeviceLimits limits_;
  bool measured_ = false;
};

// Events of a run, destroyed with it.
class Events {
 public:
  explicit Events(size_t n) : events_(n) {
    for (cudaEvent_t& e : events_) TOKAMAK_CUDA(cudaEventCreate(&e));
  }
  ~Events() {
    for (cudaEvent_t e : events_) cudaEventDestroy(e);
  }
  cudaEvent_t operator[](size_t i) const { return events_[i]; }

 private:
  std::vector<cudaEvent_t> events_;
};

void CudaBackend::run(std::span<const BoundLaunch> launches, std::byte* workspace,
                      const StepContext& step, std::span<double> times_us) {
  need_device();
  TOKAMAK_ASSERT(times_us.empty() || times_us.size() == launches.size());
  if (times_us.empty()) {
    enqueue(launches, workspace, step);
    return synchronize();
  }
  CudaExec exec(stream_);
  const Events events(launches.size() + 1);
  TOKAMAK_CUDA(cudaEventRecord(events[0], stream_));
  copies_.begin(launches, stream_);
  for (size_t i = 0; i < launches.size(); ++i) {
    copies_.before(launches[i]);
    launches[i].kernel->launch({launches[i].in, launches[i].out, workspace, &step}, exec);
    copies_.after(launches[i]);
    cuda_check(cudaGetLastError(), "a kernel launch");
    TOKAMAK_CUDA(cudaEventRecord(events[i + 1], stream_));
  }
  synchronize();
  for (size_t i = 0; i < times_us.size(); ++i) {
    float ms = 0;
    TOKAMAK_CUDA(cudaEventElapsedTime(&ms, events[i], events[i + 1]));
    times_us[i] = 1e3 * static_cast<double>(ms);
  }
}

void CudaBackend::enqueue(std::span<const BoundLaunch> launches, std::byte* workspace,
                          const StepContext& step) {
  need_device();
  CudaExec exec(stream_);
  copies_.begin(launches, stream_);
  for (const BoundLaunch& l : launches) {
    copies_.before(l);
    l.kernel->launch({l.in, l.out, workspace, &step}, exec);
    copies_.after(l);
  }
  cuda_check(cudaGetLastError(), "a kernel launch");
}

bool CudaBackend::idle() {
  const cudaError_t status = cudaStreamQuery(stream_);
  if (status == cudaErrorNotReady) return false;
  cuda_check(status, "a kernel");
  return true;
}

class CudaRecording final : public Recording {
 public:
  explicit CudaRecording(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    cuda_check(status, "cudaGraphInstantiate");
  }
  ~CudaRecording() override { cudaGraphExecDestroy(graph_); }
  cudaGraphExec_t graph() const { return graph_; }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

std::unique_ptr<Recording> CudaBackend::record(const std::function<void()>& work) {
  need_device();
  TOKAMAK_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  TOKAMAK_CUDA(cudaStreamEndCapture(stream_, &graph));
  return std::make_unique<CudaRecording>(graph);
}

void CudaBackend::replay(const Recording& recording) {
  TOKAMAK_CUDA(cudaGraphLaunch(static_cast<const CudaRecording&>(recording).graph(), stream_));
}

// Host threads: packing happens there.
void CudaBackend::parallel(const std::function<void(int, int)>& fn) {
  const int n = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 16);
  run_on_threads(n, [&](int i) { fn(i, n); });
}

}  // namespace
}  // namespace tokamak

extern "C" tokamak::Backend* tokamak_cuda_backend_1(const tokamak::CudaOptions& options) {
  return new tokamak::CudaBackend(options);
}

// The contract between the compiler, the runtime and a device. A tactic is one way to run one op
// signature; a weight layout is how a tactic wants a weight stored; a backend offers both, and runs
// lists of bound launches. cpu/ and cuda/ implement this and never include each other.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/device_sampling.h"
#include "backend/lora_view.h"
#include "base/tensor.h"
#include "ops/op.h"

namespace tokamak {

class PluginLibrary;  // ops/plugin.h

// The KV cache as kernels see it. Blocks of block_size tokens; per layer one K and one V pool:
// K and V at [block][kv_head][token in block][head_dim], rows contiguous, of dtype f32|f16|bf16,
// int8_row (a row is an f16 scale and head_dim codes, base/dtype.h) or f8e4m3 (codes saturate at
// 448; a value is scale * code).
struct KvLayerView {
  std::byte* k = nullptr;
  std::byte* v = nullptr;
  float k_scale = 1, v_scale = 1;  // f8e4m3: of the layer
};
struct KvView {
  DType dtype = DType::f16;
  int32_t block_size = 0;
  std::span<const KvLayerView> layers;
};

// What one step works on. Packed tokens: sequence s owns tokens query_begin[s] …
// query_begin[s+1]-1. The arrays lie in device memory; the numbers are the host's.
struct StepContext {
  int32_t tokens = 0;                    // sum of all sequences' tokens in this step
  int32_t sequences = 0;                 // sequences in this step
  int32_t logit_rows = 0;                // what Symbol::sequences resolves to
  int32_t max_context = 0;               // no context_len is larger; a recording's upper bound
  int32_t max_queries = 0;               // the most tokens that a sequence has in this step
  int32_t prompts = 0;                   // sequences with several tokens in this step
  int32_t first_prompt = 0;              // the first of them
  const int32_t* token_ids = nullptr;    // [tokens]
  const int32_t* positions = nullptr;    // [tokens]
  const int32_t* query_begin = nullptr;  // [sequences + 1]
  const int32_t* context_len = nullptr;  // [sequences]: KV length after this step
  const int32_t* block_table = nullptr;  // [sequences][block_table_stride]: block ids
  int32_t block_table_stride = 0;
  const int32_t* logit_index = nullptr;  // [logit_rows]: token rows for gather_rows
  KvView kv;
  LoraView lora;
};

// One operand of a launch. Activations: row-major with row_stride elements between rows (a slice is
// a view into a wider row). Weights: the packed bytes, row_stride unused.
struct Operand {
  std::byte* data = nullptr;
  int64_t row_stride = 0;
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

struct LaunchArgs {
  std::span<const Operand> in, out;
  std::byte* workspace = nullptr;  // workspace_bytes(); shared by the launches of a step
  const StepContext* step = nullptr;
};

// Where a launch runs: a CPU worker or a CUDA stream. Each backend derives its own.
struct ExecContext {};

// A signature bound to a tactic: attributes parsed, tables made. launch() allocates nothing.
// On the CPU every worker calls launch() with its own context and they meet at its end.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void launch(const LaunchArgs& args, ExecContext& exec) const = 0;
};

// Code that was compiled for one signature when an engine was built. Engine files keep it, so that
// opening them compiles nothing on a device of the same architecture.
struct CompiledCode {
  std::string key;    // of what was compiled, and for what architecture
  std::string bytes;  // as the device's loader takes it
};

class Tactic {
 public:
  virtual ~Tactic() = default;
  virtual std::string_view name() const = 0;  // unique within the backend: "linear.q4_1.vnni.n16"
  virtual Op op() const = 0;
  // Whether this machine and this signature fit.
  virtual bool supports(const OpSignature& signature) const = 0;
  virtual size_t workspace_bytes(const OpSignature& signature, int64_t tokens) const = 0;
  // Layout of weight input i: the name of a WeightLayout; "plain" is row-major as the checkpoint
  // has it.
  virtual std::string_view weight_layout(const OpSignature& signature, int input) const = 0;
  // Rough microseconds for the cost model that prunes tuning and ranks without tuning.
  virtual double estimate_us(const OpSignature& signature, int64_t tokens) const = 0;
  virtual std::unique_ptr<Kernel> bind(const OpSignature& signature) const = 0;
  // The code that bind() needs beside the program's own, compiled now where it is not there yet.
  virtual std::vector<CompiledCode> compiled_code(const OpSignature& signature) const {
    (void)signature;
    return {};
  }
};

// pack and its exact inverse. Sizes: [n, k] of the checkpoint's dtype.
class WeightLayout {
 public:
  virtual ~WeightLayout() = default;
  virtual std::string_view name() const = 0;
  virtual bool supports(DType dtype, const Shape& shape) const = 0;
  virtual size_t packed_bytes(DType dtype, const Shape& shape) const = 0;
  // dst holds packed_bytes(), aligned to 64. Rows [row_begin, row_end) only, so that a large weight
  // packs in parallel and streams; row_begin is a multiple of row_granularity().
  virtual int64_t row_granularity() const = 0;
  virtual void pack(const TensorView& src, std::byte* dst, int64_t row_begin,
                    int64_t row_end) const = 0;
  virtual void unpack(DType dtype, const Shape& shape, const std::byte* packed,
                      std::byte* dst) const = 0;
};

// Weights that lie in host memory (of allocate_shared()) and are brought to the device for a
// launch: `to` is theirs until it has ended, then others' of the same step or the next.
struct WeightCopy {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  size_t bytes = 0;
};

// One step of a prepared plan.
struct BoundLaunch {
  const Kernel* kernel = nullptr;
  std::vector<Operand> in, out;
  // The weights that it reads from begin to end, for devices that fetch ahead of the launch.
  std::vector<std::span<const std::byte>> streams = {};
  std::vector<WeightCopy> copies = {};  // on devices with memory of their own
};

struct DeviceProperties {
  std::string name;  // "AMD EPYC … (2 cores)", "NVIDIA H100 80GB HBM3"
  std::string key;   // what timings depend on: model, ISA level, threads, versions
  std::string isa;   // CPU: the level in use
  int workers = 1;
  size_t memory_bytes = 0;
};

// Measured once per process when asked for.
struct DeviceLimits {
  double read_gb_s = 0;  // large-buffer read bandwidth, all workers
  double f32_gflop_s = 0;
  double bf16_gflop_s = 0;
  double int8_gop_s = 0;
};

// Work recorded once and started many times (a CUDA graph).
class Recording {
 public:
  virtual ~Recording() = default;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "cpu", "cuda"
  virtual const DeviceProperties& properties() const = 0;
  virtual DeviceLimits measure_limits() = 0;
  // dtype of activations for a checkpoint of this dtype.
  virtual DType activation_dtype(DType checkpoint) const = 0;

  virtual std::span<const Tactic* const> tactics(Op op) const = 0;      // every ISA's, best last
  virtual const WeightLayout* layout(std::string_view name) const = 0;  // null when unknown
  // Code from an engine file, for tactics that would compile it otherwise.
  virtual void add_code(std::span<const CompiledCode> code) { (void)code; }
  // The tactics and layouts of a user's ops. Before any of its ops is looked for.
  virtual void add_plugin(std::shared_ptr<const PluginLibrary> plugin);

  // Device memory, aligned to 64 (huge pages where allowed); freed by the deleter.
  struct Deleter {
    Backend* backend;
    size_t bytes;
    void operator()(std::byte* p) const { backend->release(p, bytes); }
  };
  using Buffer = std::unique_ptr<std::byte[], Deleter>;
  virtual Buffer allocate(size_t bytes) = 0;
  virtual void release(std::byte* p, size_t bytes) = 0;
  // The source may be device memory, too. Ordered with run(); the host's bytes may be changed when
  // the call returns.
  virtual void copy_in(std::byte* device, const std::byte* host, size_t bytes) = 0;
  // The same without waiting: the source, of allocate_shared(), stays as it is until the device has
  // come past the copy.
  virtual void copy_in_order(std::byte* device, const std::byte* shared, size_t bytes) {
    copy_in(device, shared, bytes);
  }
  // Whether device memory is host memory: it may be read and written in place.
  virtual bool in_host_memory() const { return false; }
  virtual void copy_out(std::byte* host, const std::byte* device, size_t bytes) = 0;
  // Device memory that the host writes, a lot of it: write(i, to) is called for every piece, on
  // several threads at once, and puts its bytes at `to`. All are there when fill() returns.
  struct Piece {
    std::byte* device = nullptr;
    size_t bytes = 0;
  };
  virtual void fill(std::span<const Piece> pieces,
                    const std::function<void(size_t piece, std::byte* to)>& write);
  // How much device memory there is, where it is not the host's.
  struct MemoryUse {
    size_t free = 0, total = 0;      // of the device, whoever uses it
    size_t allocated = 0, peak = 0;  // by allocate()
  };
  virtual std::optional<MemoryUse> memory_use() const { return std::nullopt; }

  // Runs the launches in order. With times (one slot a launch) each is timed, in microseconds.
  virtual void run(std::span<const BoundLaunch> launches, std::byte* workspace,
                   const StepContext& step, std::span<double> times_us = {}) = 0;
  // Runs fn(worker, workers) on every worker: packing, sampling. Serial on devices without workers.
  virtual void parallel(const std::function<void(int, int)>& fn) = 0;

  // For devices that work while the host goes on. Elsewhere: nothing is recorded (null).
  // run() without waiting: the arrays of `step` must stay until synchronize().
  virtual void enqueue(std::span<const BoundLaunch> launches, std::byte* workspace,
                       const StepContext& step) {
    run(launches, workspace, step);
  }
  virtual void synchronize() {}
  // Whether all that was enqueued has ended. Error when it failed.
  virtual bool idle() { return true; }
  // Records what `work` enqueues (launches, choices) instead of doing it.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) {
    (void)work;
    return nullptr;
  }
  virtual void replay(const Recording& recording) { (void)recording; }
  virtual DeviceSampler* sampler() { return nullptr; }
  // Host memory that the device writes, too.
  virtual Buffer allocate_shared(size_t bytes) { return allocate(bytes); }
};

// The best tactic without timing: supported, smallest estimate; with a layout given, only tactics
// that take the weights in it. Null when the backend has none.
const Tactic* select_tactic(const Backend& backend, const OpSignature& signature, int64_t tokens,
                            std::string_view layout = {});
const Tactic* find_tactic(const Backend& backend, Op op, std::string_view name);
// Whether the backend has this layout and it takes this matrix.
bool can_store(const Backend& backend, const ValueType& weight, std::string_view layout);

// Packs rows [begin, end) on all workers, each part a multiple of the layout's granularity, into
// host memory.
void pack_rows(Backend& backend, const WeightLayout& layout, const TensorView& source,
               std::byte* packed, int64_t begin, int64_t end);

}  // namespace tokamak

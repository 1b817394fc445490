#include "launcher.h"

#include <cstring>
#include <deque>

#include "backend/cpu/element.h"
#include "backend/step_inputs.h"

namespace tokamak::test {
namespace {

constexpr size_t kGuard = kAlignment;  // data stays aligned, in a copy on a device, too
constexpr std::byte kPattern{0x5a}, kNan{0xff};

Shape shape_of(const HostTensor& t) { return Shape(std::span(t.shape.data(), t.shape.size())); }

// The weight in the tactic's layout, packed in pieces as the compiler would.
GuardedBuffer pack(const Backend& backend, const Tactic& tactic, const OpSignature& s, int input,
                   const HostTensor& t) {
  const WeightLayout* layout = backend.layout(tactic.weight_layout(s, input));
  TOKAMAK_ASSERT_MSG(layout != nullptr, "{}: unknown layout {}", tactic.name(),
                     tactic.weight_layout(s, input));
  const Shape shape = shape_of(t);
  TOKAMAK_ASSERT_MSG(layout->supports(t.type.dtype, shape), "{} does not take {}", layout->name(),
                     str(t.type));
  const size_t bytes = layout->packed_bytes(t.type.dtype, shape);
  GuardedBuffer packed(1, bytes, bytes);
  const TensorView view{t.type.dtype, shape, t.bytes.data()};
  const int64_t step = layout->row_granularity() * 2;
  for (int64_t r = 0; r < shape.rows(); r += step)
    layout->pack(view, packed.data(), r, std::min(r + step, shape.rows()));
  return packed;
}

// Elements between strided rows: an odd number, or one that keeps vectors of 16 bytes aligned.
int64_t gap_of(const HostTensor& t) { return t.width() % 16 == 8 ? 8 : 7; }

GuardedBuffer rows_buffer(const HostTensor& t, bool strided, bool input) {
  const size_t size = static_cast<size_t>(info(t.type.dtype).block_bytes);
  const size_t row = static_cast<size_t>(t.width()) * size;
  GuardedBuffer b(
      t.rows(), row,
      strided && t.shape.size() >= 2 ? row + static_cast<size_t>(gap_of(t)) * size : row);
  if (input) b.fill_rows(t.bytes.data());
  return b;
}

int64_t stride_of(const HostTensor& t, bool strided) {
  return t.width() + (strided && t.shape.size() >= 2 ? gap_of(t) : 0);
}

HostTensor decode(HostTensor t, std::vector<std::byte> bytes) {
  for (size_t i = 0; i < t.values.size(); ++i)
    t.values[i] = load_element(t.type.dtype, bytes.data(), static_cast<int64_t>(i));
  t.bytes = std::move(bytes);
  return t;
}

// Host bytes on the device for the time of a launch: themselves where device memory is host memory.
class Mirror {
 public:
  Mirror(Backend& backend, std::byte* host, size_t bytes)
      : backend_(backend), host_(host), bytes_(bytes), device_(nullptr, {&backend, 0}) {
    if (backend.in_host_memory()) return;
    device_ = backend.allocate(bytes);
    backend.copy_in(device_.get(), host, bytes);
  }
  std::byte* at(std::byte* host) const { return device_ ? device_.get() + (host - host_) : host; }
  void fetch() const {
    if (device_) backend_.copy_out(host_, device_.get(), bytes_);
  }

 private:
  Backend& backend_;
  std::byte* host_;
  size_t bytes_;
  Backend::Buffer device_;
};

Mirror mirror(Backend& backend, GuardedBuffer& b) {
  return {backend, b.storage().data(), b.storage().size()};
}

// The step with its arrays and its cache where the device reads them.
struct DeviceStep {
  DeviceStep(Backend& backend, TestStep& step, HostKv& cache) : arrays(backend) {
    context = step.context;
    const int64_t stride = std::max(context.block_table_stride, 1);
    arrays.resize(context.tokens, context.sequences, stride, context.logit_rows);
    std::copy(step.ids.begin(), step.ids.end(), arrays.token_ids);
    std::copy(step.positions.begin(), step.positions.end(), arrays.positions);
    std::copy(step.query_begin.begin(), step.query_begin.end(), arrays.query_begin);
    std::copy(step.context_len.begin(), step.context_len.end(), arrays.context_len);
    std::copy(step.logit_index.begin(), step.logit_index.end(), arrays.logit_index);
    std::copy(step.block_table.begin(), step.block_table.end(), arrays.block_table);
    std::copy(step.lora.adapters.begin(), step.lora.adapters.end(), arrays.adapters);
    arrays.upload(context);
    attach_lora(backend, step.lora);
    for (HostKv* kv : {&step.other, &cache}) {
      pools.emplace_back(backend, kv->k.data(), kv->k.size());
      pools.emplace_back(backend, kv->v.data(), kv->v.size());
      KvLayerView layer = step.context.kv.layers[layers.size()];
      layer.k = pools[pools.size() - 2].at(kv->k.data());
      layer.v = pools.back().at(kv->v.data());
      layers.push_back(layer);
    }
    context.kv.layers = layers;
  }
  void attach_lora(Backend& backend, HostLora& lora) {
    for (HostLora::Part& p : lora.parts) {
      pools.emplace_back(backend, p.a_rows.data(), p.a_rows.size());
      pools.emplace_back(backend, p.b_rows.data(), p.b_rows.size());
      lora_parts.push_back({pools[pools.size() - 2].at(p.a_rows.data()),
                            pools.back().at(p.b_rows.data()), static_cast<float>(p.scale),
                            static_cast<int32_t>(p.rank), p.dtype});
    }
    if (lora.parts.empty()) return;
    auto* parts = reinterpret_cast<std::byte*>(lora_parts.data());
    pools.emplace_back(backend, parts, lora_parts.size() * sizeof(LoraPart));
    context.lora.parts = reinterpret_cast<const LoraPart*>(pools.back().at(parts));
    context.lora.part_count = static_cast<int32_t>(lora.part_count);
  }

  StepInputs arrays;
  StepContext context;
  std::vector<LoraPart> lora_parts;
  std::deque<Mirror> pools;
  std::vector<KvLayerView> layers;
};

}  // namespace

GuardedBuffer::GuardedBuffer(int64_t rows, size_t row_bytes, size_t stride_bytes)
    : rows_(rows), row_bytes_(row_bytes), stride_bytes_(stride_bytes) {
  const size_t body = static_cast<size_t>(rows) * stride_bytes;
  storage_.assign(body + 2 * kGuard, kPattern);
  data_ = storage_.data() + kGuard;
  before_ = storage_;
}

void GuardedBuffer::fill_rows(const std::byte* dense) {
  std::memset(data_, static_cast<int>(kNan), static_cast<size_t>(rows_) * stride_bytes_);
  for (size_t r = 0; r < static_cast<size_t>(rows_); ++r)
    std::memcpy(data_ + r * stride_bytes_, dense + r * row_bytes_, row_bytes_);
  before_ = storage_;
}

std::vector<std::byte> GuardedBuffer::dense() const {
  std::vector<std::byte> out;
  for (size_t r = 0; r < static_cast<size_t>(rows_); ++r)
    out.insert(out.end(), data_ + r * stride_bytes_, data_ + r * stride_bytes_ + row_bytes_);
  return out;
}

std::string GuardedBuffer::damage() const {
  const size_t begin = static_cast<size_t>(data_ - storage_.data());
  for (size_t i = 0; i < storage_.size(); ++i) {
    if (storage_[i] == before_[i]) continue;
    const bool in_body = i >= begin && i < begin + static_cast<size_t>(rows_) * stride_bytes_;
    if (in_body && (i - begin) % stride_bytes_ < row_bytes_) continue;
    return fmt::format("byte {} written (rows of {} bytes, {} apart)",
                       static_cast<int64_t>(i) - static_cast<int64_t>(begin), row_bytes_,
                       stride_bytes_);
  }
  return {};
}

LaunchResult run_tactic(Backend& backend, const Tactic& tactic, const OpSignature& signature,
                        const std::vector<HostTensor>& inputs, TestStep& step, bool strided) {
  std::deque<GuardedBuffer> in, out;
  BoundLaunch launch;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const HostTensor& t = inputs[i];
    const bool weight = t.type.is_weight;
    in.push_back(weight ? pack(backend, tactic, signature, static_cast<int>(i), t)
                        : rows_buffer(t, strided, true));
    launch.in.push_back({in.back().data(), weight ? 0 : stride_of(t, strided)});
  }
  LaunchResult result;
  for (const ValueType& type : signature.outputs) {
    result.outputs.push_back(zeros(type, step.context.tokens, step.context.logit_rows));
    out.push_back(rows_buffer(result.outputs.back(), strided, false));
    launch.out.push_back({out.back().data(), stride_of(result.outputs.back(), strided)});
  }
  const size_t workspace_bytes = tactic.workspace_bytes(signature, step.context.tokens);
  GuardedBuffer workspace(1, workspace_bytes, std::max<size_t>(workspace_bytes, 1));
  std::memset(workspace.data(), static_cast<int>(kNan), workspace_bytes);
  result.cache = step.cache;
  const HostKv other = step.other;
  step.attach(result.cache);

  std::deque<Mirror> mirrors;
  const auto to_device = [&](std::vector<Operand>& operands, std::deque<GuardedBuffer>& buffers) {
    for (size_t i = 0; i < operands.size(); ++i) {
      mirrors.push_back(mirror(backend, buffers[i]));
      operands[i].data = mirrors.back().at(operands[i].data);
    }
  };
  to_device(launch.in, in);
  to_device(launch.out, out);
  mirrors.push_back(mirror(backend, workspace));
  const DeviceStep device_step(backend, step, result.cache);
  const auto kernel = tactic.bind(signature);
  launch.kernel = kernel.get();
  backend.run(std::span(&launch, 1), mirrors.back().at(workspace.data()), device_step.context);
  for (const Mirror& m : mirrors) m.fetch();
  for (const Mirror& m : device_step.pools) m.fetch();

  for (size_t i = 0; i < out.size(); ++i)
    result.outputs[i] = decode(std::move(result.outputs[i]), out[i].dense());
  for (const GuardedBuffer& b : in)
    if (!b.damage().empty()) result.damage += "an input: " + b.damage() + "; ";
  for (const GuardedBuffer& b : out)
    if (!b.damage().empty()) result.damage += "around an output: " + b.damage() + "; ";
  if (!workspace.damage().empty()) result.damage += "workspace: " + workspace.damage() + "; ";
  if (other.k != step.other.k || other.v != step.other.v)
    result.damage += "the KV cache of another layer changed; ";
  return result;
}

}  // namespace tokamak::test

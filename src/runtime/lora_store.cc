#include "runtime/lora_store.h"

#include <algorithm>
#include <cstring>

#include "base/half.h"

namespace tokamak {
namespace {

bool is_adapter_dtype(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16; }

float as_float(DType t, const std::byte* row, int64_t i) {
  if (t == DType::f32) return reinterpret_cast<const float*>(row)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(row)[i];
  return t == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

// Both matrices in one dtype: their own, or float32.
DType dtype_of(const LoraMatrices& m) { return m.a.dtype == m.b.dtype ? m.a.dtype : DType::f32; }

size_t padded_bytes(int64_t rank, int64_t width, DType t) {
  return static_cast<size_t>(rank * lora_padded(width)) * row_bytes(t, 1);
}

// [rank][padded width] of a matrix, or of its transpose.
void write_rows(const TensorView& m, bool transposed, DType to, std::byte* rows) {
  const int64_t rank = m.shape[transposed ? 1 : 0], width = m.shape[transposed ? 0 : 1];
  const int64_t stride = lora_padded(width) * static_cast<int64_t>(row_bytes(to, 1));
  const auto size = row_bytes(to, 1);
  for (int64_t r = 0; r < rank; ++r)
    for (int64_t i = 0; i < width; ++i) {
      const std::byte* from = m.row(transposed ? i : r);
      const int64_t at = transposed ? r : i;
      std::byte* element = rows + r * stride + i * static_cast<int64_t>(size);
      if (m.dtype == to)
        std::memcpy(element, from + static_cast<size_t>(at) * size, size);
      else
        *reinterpret_cast<float*>(element) = as_float(m.dtype, from, at);
    }
}

}  // namespace

LoraStore::LoraStore(Backend& backend, std::vector<LoraTarget> targets, const LoraOptions& options)
    : backend_(backend),
      targets_(std::move(targets)),
      options_(options),
      table_(nullptr, {&backend, 0}) {
  if (!enabled()) return;
  slots_.resize(static_cast<size_t>(options.max_loras));
  for (Slot& s : slots_) s.parts.resize(targets_.size());
  table_ = backend.allocate(slots_.size() * targets_.size() * sizeof(LoraPart));
  for (size_t i = 0; i < slots_.size(); ++i) send(i);
}

const LoraStore::Slot& LoraStore::slot(int32_t adapter) const {
  if (adapter < 0 || slots_.empty() || slots_[row(adapter)].adapter != adapter)
    fail("there is no LoRA adapter {} in this session", adapter);
  return slots_[row(adapter)];
}

int64_t LoraStore::loaded() const {
  return std::ranges::count_if(slots_, [](const Slot& s) { return s.adapter >= 0; });
}

LoraView LoraStore::view() const {
  return {reinterpret_cast<const LoraPart*>(table_.get()), static_cast<int32_t>(targets_.size()),
          nullptr};
}

void LoraStore::send(size_t row) {
  const size_t bytes = targets_.size() * sizeof(LoraPart);
  backend_.copy_in(table_.get() + row * bytes,
                   reinterpret_cast<const std::byte*>(slots_[row].parts.data()), bytes);
}

size_t LoraStore::target_of(const LoraMatrices& m, const std::string& source) const {
  const auto at = std::ranges::find_if(
      targets_, [&](const LoraTarget& t) { return t.layer == m.layer && t.kind == m.kind; });
  const auto what = fmt::format("'{}': {} of layer {}", source, name(m.kind), m.layer);
  if (at == targets_.end()) fail("{}: the model has no such linear", what);
  if (!at->wanted)
    fail("{}: not among the linears that take adapters here (--lora_target_modules)", what);
  const auto rank = m.a.shape.rank() == 2 ? m.a.shape[0] : 0;
  if (m.a.shape != Shape{rank, at->in} || m.b.shape != Shape{at->out, rank})
    fail("{}: lora_A is {} and lora_B {}; expected [r, {}] and [{}, r]", what, m.a.shape.str(),
         m.b.shape.str(), at->in, at->out);
  if (rank < 1 || rank > options_.max_rank)
    fail("{}: rank {}; this engine takes 1 to {} (--max_lora_rank)", what, rank, options_.max_rank);
  if (!is_adapter_dtype(m.a.dtype) || !is_adapter_dtype(m.b.dtype))
    fail("{}: {} and {}; expected float32, float16 or bfloat16", what, tokamak::name(m.a.dtype),
         tokamak::name(m.b.dtype));
  return static_cast<size_t>(at - targets_.begin());
}

int32_t LoraStore::load(std::span<const LoraMatrices> matrices, const std::string& source) {
  if (!enabled())
    fail("'{}': this engine takes no LoRA adapters; give --max_lora_rank at build or here", source);
  const auto free = std::ranges::find(slots_, -1, &Slot::adapter);
  if (free == slots_.end())
    fail("'{}': {} LoRA adapters are loaded, as many as --max_loras allows; unload one", source,
         slots_.size());
  std::vector<LoraPart> parts(targets_.size());
  size_t bytes = 0;
  for (const LoraMatrices& m : matrices) {
    const size_t i = target_of(m, source);
    if (parts[i].rank != 0)
      fail("'{}': {} of layer {} stands twice", source, name(m.kind), m.layer);
    parts[i].rank = static_cast<int32_t>(m.a.shape[0]);
    parts[i].scale = m.scale;
    parts[i].dtype = dtype_of(m);
    bytes += padded_bytes(parts[i].rank, targets_[i].in, parts[i].dtype) +
             padded_bytes(parts[i].rank, targets_[i].out, parts[i].dtype);
  }
  std::vector<std::byte> host(bytes);
  Backend::Buffer memory = backend_.allocate(std::max<size_t>(bytes, 64));
  size_t at = 0;
  for (const LoraMatrices& m : matrices) {
    const size_t i = target_of(m, source);
    LoraPart& p = parts[i];
    p.a = memory.get() + at;
    write_rows(m.a, false, p.dtype, host.data() + at);
    at += padded_bytes(p.rank, targets_[i].in, p.dtype);
    p.b = memory.get() + at;
    write_rows(m.b, true, p.dtype, host.data() + at);
    at += padded_bytes(p.rank, targets_[i].out, p.dtype);
  }
  backend_.copy_in(memory.get(), host.data(), bytes);
  free->memory = std::move(memory);
  free->parts = std::move(parts);
  const auto row = static_cast<size_t>(free - slots_.begin());
  free->adapter = rounds_++ * static_cast<int32_t>(slots_.size()) + static_cast<int32_t>(row);
  send(row);
  return free->adapter;
}

void LoraStore::unload(int32_t adapter) {
  check(adapter);
  Slot& s = slots_[row(adapter)];
  s.adapter = -1;
  std::ranges::fill(s.parts, LoraPart{});
  send(static_cast<size_t>(row(adapter)));
  s.memory.reset();
}

}  // namespace tokamak

#include "compile/weight_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace tokamak {
namespace {

class CheckpointWeights final : public WeightSource {
 public:
  explicit CheckpointWeights(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  TensorView load(const PlanWeight& weight) override {
    joined_ = {};
    direct_ = weight.names.size() == 1;
    const Shape want = shape_of(weight);
    if (direct_) {
      const TensorView view = part(weight, weight.names[0]);
      if (view.shape != want) fail_shape(weight.names[0], view.shape, want);
      return view;
    }
    return {weight.dtype, want, join(weight, want)};
  }

  void release(const TensorView& view, int64_t begin, int64_t end) override {
    if (!direct_ || view.shape.rank() == 0) return;
    TensorView rows = view;
    const auto row = static_cast<int64_t>(view.bytes()) / std::max<int64_t>(view.shape[0], 1);
    rows.shape[0] = end - begin;
    rows.data = view.data + begin * row;
    checkpoint_.release(rows);
  }

 private:
  [[noreturn]] void fail_shape(const std::string& name, const Shape& found, const Shape& want) {
    fail("tensor '{}' in '{}' has shape {}, the model needs {}", name,
         checkpoint_.directory().string(), found.str(), want.str());
  }

  TensorView part(const PlanWeight& weight, const std::string& tensor) {
    const TensorView view = checkpoint_.tensor(tensor);
    if (view.dtype != weight.dtype)
      fail("tensor '{}' in '{}' is {}, expected {}", tensor, checkpoint_.directory().string(),
           name(view.dtype), name(weight.dtype));
    return view;
  }

  const std::byte* join(const PlanWeight& weight, const Shape& want) {
    joined_.resize(TensorView{weight.dtype, want}.bytes());
    size_t at = 0;
    for (const std::string& tensor : weight.names) {
      const TensorView view = part(weight, tensor);
      if (view.shape.rank() != want.rank() ||
          (want.rank() > 1 && view.shape.back() != want.back()) ||
          view.bytes() > joined_.size() - at)
        fail_shape(tensor, view.shape, want);
      std::memcpy(joined_.data() + at, view.data, view.bytes());
      checkpoint_.release(view);
      at += view.bytes();
    }
    if (at != joined_.size())
      fail("tensors '{}' … in '{}' make {} bytes, the model needs shape {} of {}", weight.names[0],
           checkpoint_.directory().string(), at, want.str(), name(weight.dtype));
    return joined_.data();
  }

  const Checkpoint& checkpoint_;
  std::vector<std::byte> joined_;
  bool direct_ = true;
};

// splitmix64
uint64_t next(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

class RandomWeights final : public WeightSource {
 public:
  explicit RandomWeights(uint64_t seed) : seed_(seed) {}

  TensorView load(const PlanWeight& weight) override {
    const Shape shape = shape_of(weight);
    TensorView view{weight.dtype, shape};
    data_.resize(view.bytes());
    view.data = data_.data();
    uint64_t state = seed_;
    for (const char c : weight.names[0]) state = state * 31 + static_cast<unsigned char>(c);
    const bool vector = shape.rank() == 1;
    const bool norm = vector && weight.names[0].ends_with("weight");
    const float spread = vector ? 0.05f : 1.7f / std::sqrt(static_cast<float>(shape.back()));
    if (is_block_format(weight.dtype))
      fill_blocks(weight.dtype, spread, state);
    else
      fill_plain(weight.dtype, norm ? 1.0f : 0.0f, spread, state);
    return view;
  }
  void release(const TensorView&, int64_t, int64_t) override {}

 private:
  void fill_plain(DType dtype, float center, float spread, uint64_t state) {
    const size_t n = data_.size() / static_cast<size_t>(info(dtype).block_bytes);
    for (size_t i = 0; i < n; ++i) {
      const float unit = static_cast<float>(next(state) >> 40) * 0x1p-23f - 1;
      const float value = center + spread * unit;
      const uint16_t half = dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
      if (dtype == DType::f32)
        std::memcpy(&data_[i * 4], &value, 4);
      else if (dtype == DType::f16 || dtype == DType::bf16)
        std::memcpy(&data_[i * 2], &half, 2);
      else
        fail("random weights of dtype {} are not made", name(dtype));
    }
  }

  // Random quants; the block's f16 scales (where the format keeps them) are set to a sane size.
  void fill_blocks(DType dtype, float spread, uint64_t state) {
    for (size_t i = 0; i + 8 <= data_.size(); i += 8) {
      const uint64_t bits = next(state);
      std::memcpy(&data_[i], &bits, 8);
    }
    struct ScalePlace {
      int scale = 0, minimum = -1;
      float range = 8;
    };
    ScalePlace p;
    switch (dtype) {
      case DType::q4_0:
        break;
      case DType::q4_1:
        p = {0, 2, 8};
        break;
      case DType::q5_0:
        p.range = 16;
        break;
      case DType::q5_1:
        p = {0, 2, 16};
        break;
      case DType::q8_0:
        p.range = 127;
        break;
      case DType::q4_k:
        p = {0, 2, 8 * 32};
        break;
      case DType::q5_k:
        p = {0, 2, 16 * 32};
        break;
      case DType::q6_k:
        p = {208, -1, 32 * 64};
        break;
      default:
        fail("random weights of dtype {} are not made", name(dtype));
    }
    const auto block = static_cast<size_t>(info(dtype).block_bytes);
    const float d = spread / p.range;
    const bool k_quant = dtype == DType::q4_k || dtype == DType::q5_k;
    for (size_t at = 0; at + block <= data_.size(); at += block) {
      const uint16_t scale = f32_to_f16(d);
      std::memcpy(&data_[at + static_cast<size_t>(p.scale)], &scale, 2);
      // q4_1 adds its minimum, the k formats subtract theirs.
      const uint16_t low = f32_to_f16(k_quant ? d * p.range / 32 : -d * p.range);
      if (p.minimum >= 0) std::memcpy(&data_[at + static_cast<size_t>(p.minimum)], &low, 2);
    }
  }

  uint64_t seed_;
  std::vector<std::byte> data_;
};

}  // namespace

std::unique_ptr<WeightSource> make_checkpoint_source(const Checkpoint& checkpoint) {
  return std::make_unique<CheckpointWeights>(checkpoint);
}

std::unique_ptr<WeightSource> make_random_source(uint64_t seed) {
  return std::make_unique<RandomWeights>(seed);
}

}  // namespace tokamak

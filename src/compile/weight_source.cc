#include "compile/weight_source.h"

#include <algorithm>
#include <cstring>

#include "engine/random_weights.h"

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

class GeneratedWeights final : public WeightSource {
 public:
  explicit GeneratedWeights(uint64_t seed) : random_(seed) {}

  TensorView load(const PlanWeight& weight) override {
    random_.prepare(weight);
    TensorView view{weight.dtype, shape_of(weight)};
    data_.resize(view.bytes());
    view.data = data_.data();
    random_.write_rows(weight, 0, RandomWeights::rows(weight), data_.data());
    return view;
  }
  void release(const TensorView&, int64_t, int64_t) override {}

 private:
  RandomWeights random_;
  std::vector<std::byte> data_;
};

}  // namespace

std::unique_ptr<WeightSource> make_checkpoint_source(const Checkpoint& checkpoint) {
  return std::make_unique<CheckpointWeights>(checkpoint);
}

std::unique_ptr<WeightSource> make_random_source(uint64_t seed) {
  return std::make_unique<GeneratedWeights>(seed);
}

}  // namespace tokamak

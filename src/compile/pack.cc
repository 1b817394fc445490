#include "compile/pack.h"

#include <algorithm>
#include <cstring>

#include "base/progress.h"
#include "formats/atomic_output.h"

namespace tokamak {
namespace {

constexpr size_t kPieceBytes = 32u << 20;  // packed between two releases

const WeightLayout& layout_of(const Backend& backend, const PlanWeight& w) {
  const WeightLayout* layout = backend.layout(w.layout);
  if (!layout || !layout->supports(w.dtype, shape_of(w)))
    fail("backend '{}' cannot store weight '{}' ({}{}) in layout '{}'", backend.name(), w.names[0],
         name(w.dtype), shape_of(w).str(), w.layout);
  return *layout;
}

// As the checkpoint has it: what vectors always are, and matrices of layout "plain".
bool is_copy(const PlanWeight& w) { return w.shape.size() < 2 || w.layout == "plain"; }

}  // namespace

size_t packed_weight_bytes(const Backend& backend, const PlanWeight& weight) {
  if (is_copy(weight)) return TensorView{weight.dtype, shape_of(weight)}.bytes();
  return layout_of(backend, weight).packed_bytes(weight.dtype, shape_of(weight));
}

void pack_weight(Backend& backend, WeightSource& source, const PlanWeight& weight,
                 std::span<std::byte> packed,
                 const std::function<void(std::span<std::byte>)>& done) {
  const TensorView view = source.load(weight);
  const int64_t rows = view.shape.rank() == 0 ? 1 : view.shape[0];
  const size_t row_bytes = view.bytes() / static_cast<size_t>(std::max<int64_t>(rows, 1));
  const bool copy = is_copy(weight);
  const WeightLayout* layout = copy ? nullptr : &layout_of(backend, weight);
  const int64_t unit = copy ? 1 : std::max<int64_t>(layout->row_granularity(), 1);
  const auto fit = static_cast<int64_t>(kPieceBytes / std::max<size_t>(row_bytes, 1));
  const int64_t piece = std::max<int64_t>(fit / unit, 1) * unit;

  for (int64_t begin = 0; begin < rows; begin += piece) {
    const int64_t end = std::min(rows, begin + piece);
    if (copy)
      std::memcpy(packed.data() + begin * row_bytes, view.data + begin * row_bytes,
                  static_cast<size_t>(end - begin) * row_bytes);
    else
      pack_rows(backend, *layout, view, packed.data(), begin, end);
    source.release(view, begin, end);
    throw_if_interrupted();
    // Layouts keep rows in order of granules, roughly: what is touched again is read back.
    const auto part = [&](int64_t row) { return packed.size() * size_t(row) / size_t(rows); };
    if (done) done(packed.subspan(part(begin), part(end) - part(begin)));
  }
}

void pack_weights(Backend& backend, WeightSource& source, const Plan& plan, EngineWriter& writer) {
  int64_t total = 0;
  for (const PlanWeight& w : plan.weights) total += static_cast<int64_t>(w.bytes);
  Progress progress("packing weights", total, "B");
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    const std::span<std::byte> packed = writer.weight(i);
    pack_weight(backend, source, plan.weights[i], packed,
                [&](std::span<std::byte> part) { writer.release(part); });
    progress.add(static_cast<int64_t>(packed.size()), plan.weights[i].names[0]);
  }
  progress.finish();
}

}  // namespace tokamak

#include "backend/cpu/linear/rows16_embedding.h"

#include "backend/cpu/element.h"
#include "backend/cpu/linear/rows16.h"
#include "backend/cpu/linear/rows16_layout.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

// A worker's row as the checkpoint has it.
size_t scratch_bytes(const ValueType& table) {
  return (row_bytes(table.dtype, width_of(table)) + 63) / 64 * 64;
}

class Rows16Embedding final : public Kernel {
 public:
  explicit Rows16Embedding(const OpSignature& s)
      : s_(s), scale_(static_cast<float>(s.attrs.get_or<double>("scale", 1.0))) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    const ValueType& table = s_.inputs[1];
    std::byte* row = args.workspace + scratch_bytes(table) * static_cast<size_t>(e.worker);
    const auto* ids = args.in[0].as<const int32_t>();
    const WorkRange mine = share(args.step->tokens, e.worker, e.workers);
    for (int64_t t = mine.begin; t < mine.end; ++t) {
      auto* out = reinterpret_cast<float*>(y.row(t));
      unpack_rows16_row(table.dtype, args.in[1].data, y.width, ids[t], row);
      load_row(table.dtype, row, y.width, out);
      if (scale_ == 1.0f) continue;
      for (int64_t i = 0; i < y.width; ++i) out[i] *= scale_;
    }
  }

 private:
  const OpSignature s_;
  const float scale_;
};

class Rows16EmbeddingTactic final : public CpuTactic {
 public:
  explicit Rows16EmbeddingTactic(const CpuTarget& target)
      : CpuTactic("embedding.rows16", Op::embedding, Isa::avx2, target) {}
  size_t workspace_bytes(const OpSignature& s, int64_t) const override {
    return static_cast<size_t>(target_.workers) * scratch_bytes(s.inputs[1]);
  }
  std::string_view weight_layout(const OpSignature&, int input) const override {
    return input == 1 ? kRows16 : "plain";
  }
  // A row lies in lines that hold parts of fifteen others.
  double estimate_us(const OpSignature& s, int64_t tokens) const override {
    constexpr double kBytesPerUs = 6000;
    const auto group = rows16_group_bytes(s.inputs[1].dtype, width_of(s.inputs[1]));
    return 0.5 +
           static_cast<double>(tokens) * static_cast<double>(group) / kBytesPerUs / target_.workers;
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<Rows16Embedding>(s);
  }

 protected:
  bool fits(const OpSignature& s) const override {
    const ValueType& table = s.inputs[1];
    return s.outputs[0].dtype == DType::f32 && table.shape.size() == 2 &&
           rows16_fits(table.dtype, width_of(table)) && fits_row(table.dtype, width_of(table));
  }
};

}  // namespace

void add_rows16_embedding(CpuRegistry& r) { r.add<Rows16EmbeddingTactic>(r.target); }

}  // namespace tokamak

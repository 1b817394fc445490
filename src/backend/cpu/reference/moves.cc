// concat, reshape, gather_rows and embedding.
#include <cstring>

#include "backend/cpu/reference/reference.h"
#include "backend/cpu/reference/rows.h"

namespace tokamak {
namespace {

class ConcatKernel final : public Kernel {
 public:
  explicit ConcatKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    const WorkRange mine = share(row_count(s_.outputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      std::byte* to = y.row(r);
      for (size_t i = 0; i < s_.inputs.size(); ++i) {
        const Rows x = rows_view(s_.inputs[i], args.in[i]);
        const size_t bytes = row_bytes(x.dtype, x.width);
        std::memcpy(to, x.row(r), bytes);
        to += bytes;
      }
    }
  }

 private:
  const OpSignature s_;
};

// Row-major order stays; rows may be of another width on the other side.
class ReshapeKernel final : public Kernel {
 public:
  explicit ReshapeKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    const int64_t size = info(x.dtype).block_bytes;
    const int64_t n = row_count(s_.outputs[0], *args.step) * y.width;
    const WorkRange mine = share(n, e.worker, e.workers, 64);
    const bool dense = x.row_bytes == x.width * size && y.row_bytes == y.width * size;
    if (dense) {
      std::memcpy(y.data + mine.begin * size, x.data + mine.begin * size,
                  static_cast<size_t>((mine.end - mine.begin) * size));
      return;
    }
    for (int64_t i = mine.begin; i < mine.end; ++i)
      std::memcpy(y.row(i / y.width) + i % y.width * size, x.row(i / x.width) + i % x.width * size,
                  static_cast<size_t>(size));
  }

 private:
  const OpSignature s_;
};

class GatherRowsKernel final : public Kernel {
 public:
  explicit GatherRowsKernel(const OpSignature& s) : s_(s) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows x = rows_view(s_.inputs[0], args.in[0]), y = rows_view(s_.outputs[0], args.out[0]);
    const int64_t per_token = rows_per_token();  // > 1 for [tokens, heads, head_dim]
    const WorkRange mine = share(row_count(s_.outputs[0], *args.step), e.worker, e.workers);
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      const int64_t from = args.step->logit_index[r / per_token] * per_token + r % per_token;
      std::memcpy(y.row(r), x.row(from), row_bytes(x.dtype, x.width));
    }
  }

 private:
  int64_t rows_per_token() const {
    int64_t n = 1;
    for (size_t i = 1; i + 1 < s_.inputs[0].shape.size(); ++i) n *= s_.inputs[0].shape[i].size;
    return n;
  }
  const OpSignature s_;
};

// Scratch: one widened row a worker.
class EmbeddingKernel final : public Kernel {
 public:
  explicit EmbeddingKernel(const OpSignature& s)
      : s_(s), scale_(s.attrs.get_or<double>("scale", 1.0)) {}
  void launch(const LaunchArgs& args, ExecContext& exec) const override {
    const auto& e = static_cast<CpuExec&>(exec);
    const Rows y = rows_view(s_.outputs[0], args.out[0]);
    const ValueType& table = s_.inputs[1];
    const int64_t row_bytes = static_cast<int64_t>(tokamak::row_bytes(table.dtype, y.width));
    float* row = reinterpret_cast<float*>(args.workspace) + e.worker * y.width;
    const auto* ids = args.in[0].as<const int32_t>();
    const WorkRange mine = share(args.step->tokens, e.worker, e.workers);
    for (int64_t t = mine.begin; t < mine.end; ++t) {
      load_row(table.dtype, args.in[1].data + ids[t] * row_bytes, y.width, row);
      for (int64_t i = 0; i < y.width; ++i) y.set(t, i, double(row[i]) * scale_);
    }
  }

 private:
  const OpSignature s_;
  const double scale_;
};

class EmbeddingTactic final : public CpuTactic {
 public:
  explicit EmbeddingTactic(const CpuTarget& target)
      : CpuTactic("embedding.reference", Op::embedding, Isa::reference, target) {}
  size_t workspace_bytes(const OpSignature& s, int64_t) const override {
    return static_cast<size_t>(target_.workers * width_of(s.outputs[0])) * sizeof(float);
  }
  std::unique_ptr<Kernel> bind(const OpSignature& s) const override {
    return std::make_unique<EmbeddingKernel>(s);
  }

 protected:
  bool fits(const OpSignature& s) const override { return is_activation_dtype(s.outputs[0].dtype); }
};

bool fits(const OpSignature& s) { return !is_block_format(s.inputs[0].dtype); }

template <typename K>
std::unique_ptr<Kernel> bind(const OpSignature& s) {
  return std::make_unique<K>(s);
}

}  // namespace

void add_reference_moves(CpuRegistry& r) {
  r.add_simple("concat.reference", Op::concat, Isa::reference, fits, bind<ConcatKernel>);
  r.add_simple("reshape.reference", Op::reshape, Isa::reference, fits, bind<ReshapeKernel>);
  r.add_simple("gather_rows.reference", Op::gather_rows, Isa::reference, fits,
               bind<GatherRowsKernel>);
  r.add<EmbeddingTactic>(r.target);
}

}  // namespace tokamak

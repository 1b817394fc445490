#include "quant/quantize.h"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/block_codec.h"
#include "base/error.h"
#include "formats/atomic_output.h"
#include "formats/checkpoint.h"
#include "formats/checkpoint_writer.h"
#include "quant/quantize_rows.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLayer = "transformer.layers.";

// Pipeline stages number their layers from 0; recipes speak of the whole model's.
std::string global_name(const std::string& name, int64_t first_layer) {
  if (first_layer == 0 || !name.starts_with(kLayer)) return name;
  const size_t dot = name.find('.', kLayer.size());
  return fmt::format("{}{}{}", kLayer, std::stoll(name.substr(kLayer.size())) + first_layer,
                     name.substr(dot));
}

struct RankPlan {
  Checkpoint source;
  std::vector<CheckpointTensor> tensors;
};

class Producer final : public RowProducer {
 public:
  explicit Producer(const RankPlan& plan) : plan_(plan) {}

  void produce(size_t index, int64_t first, int64_t count, std::byte* out) override {
    const CheckpointTensor& t = plan_.tensors[index];
    TensorView in = plan_.source.tensor(t.name);
    const size_t in_row = row_bytes(in.dtype, t.columns);
    in.data += static_cast<size_t>(first) * in_row;
    in.shape = Shape{count, t.columns};
    if (in.dtype == t.dtype) {
      std::memcpy(out, in.data, in.bytes());
    } else {
      row_.resize(static_cast<size_t>(t.columns));
      for (int64_t r = 0; r < count; ++r) {
        dequantize_row(in.dtype, in.row(r), row_.data(), t.columns);
        quantize_weight_row(t.dtype, row_.data(), t.columns,
                            out + static_cast<size_t>(r) * t.row_bytes(), t.name, first + r);
      }
    }
    plan_.source.release(in);
  }

 private:
  const RankPlan& plan_;
  std::vector<float> row_;
};

RankPlan plan_rank(const QuantizeOptions& o, int rank, QuantPolicy& policy, QuantReport& report) {
  RankPlan plan{Checkpoint::open(o.checkpoint_dir, rank), {}};
  const ModelConfig& c = plan.source.config();
  const int64_t stage = rank / c.mapping.tp_size;
  const int64_t first_layer = c.num_hidden_layers / c.mapping.pp_size * stage;
  for (const std::string& name : plan.source.names()) {
    const TensorView t = plan.source.tensor(name);
    const bool matrix = t.shape.rank() == 2;
    if (t.shape.rank() < 1 || t.shape.rank() > 2)
      fail("'{}': tensor '{}' has shape {}, expected a matrix or a vector",
           o.checkpoint_dir.string(), name, t.shape.str());
    CheckpointTensor out{name, t.dtype, t.shape[0], matrix ? t.shape[1] : 1, !matrix};
    out.dtype =
        policy.dtype_of(global_name(name, first_layer), matrix, out.columns, t.dtype, t.dtype);
    if (out.dtype == t.dtype) {
      ++report.kept;
      report.kept_bytes += out.bytes();
    } else {
      ++report.quantized;
      report.quantized_before += t.bytes();
      report.quantized_after += out.bytes();
    }
    plan.tensors.push_back(std::move(out));
  }
  return plan;
}

// Tokenizer, template, generation defaults: whatever lies beside the weights.
void copy_side_files(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == "config.json" || name.starts_with(".") ||
        (name.starts_with("rank") && name.ends_with(".safetensors")))
      continue;
    fs::copy_file(entry.path(), to / name);
  }
}

// What `quantize` made loses a second time; blocks of a GGUF may be all that its user has.
void check_not_quantized(const fs::path& checkpoint, const QuantizationConfig& q) {
  if (q.quant_algo.empty() || q.quant_algo == "GGUF") return;
  fail("'{}' is quantized already ({}, {}); quantize the checkpoint it was made from",
       checkpoint.string(), q.quant_algo,
       q.group_size > 0 ? fmt::format("groups of {}", q.group_size) : "a scale per row");
}

}  // namespace

QuantReport quantize_checkpoint(const QuantizeOptions& o) {
  TOKAMAK_ASSERT(o.recipe);
  const int workers = writer_threads(o.workers);
  QuantReport report;
  ModelConfig config = Checkpoint::open(o.checkpoint_dir).config();
  check_not_quantized(o.checkpoint_dir, config.quantization);
  QuantPolicy policy(o.recipe, config);
  std::vector<RankPlan> ranks;
  size_t bytes = 0;
  for (int rank = 0; rank < config.mapping.world_size(); ++rank) {
    ranks.push_back(plan_rank(o, rank, policy, report));
    for (const CheckpointTensor& t : ranks.back().tensors) bytes += t.bytes();
  }
  policy.check_excluded();
  policy.check_any();
  policy.describe(config.quantization);
  config.quantization.activation_scales = o.activation_scales;
  if (!o.kv_cache_quant_algo.empty())
    config.quantization.kv_cache_quant_algo = o.kv_cache_quant_algo;
  report.format = policy.formats();
  report.notices = policy.notices();

  AtomicDirectory output(o.output_dir, o.overwrite);
  Progress progress("quantize", static_cast<int64_t>(bytes), "B");
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    write_checkpoint_rank(
        output.path() / fmt::format("rank{}.safetensors", rank), ranks[rank].tensors,
        [&] { return std::make_unique<Producer>(ranks[rank]); }, workers, progress);
  copy_side_files(o.checkpoint_dir, output.path());
  write_file(output.path() / "config.json", config.to_json().dump(2) + "\n");
  output.commit();
  progress.finish();
  return report;
}

}  // namespace tokamak

// Quantized weights stay as narrow as they came: an engine holds a GGUF's blocks, and weight-only
// formats, in as many bytes as the file, whatever layout the tactics want.
#include <gtest/gtest.h>

#include <fstream>

#include "engine/engine_file.h"
#include "ops/linear.h"
#include "runtime/tiny_model.h"

namespace tokamak {
namespace {

constexpr int64_t kInputs = 1536, kOutputs = 83;

size_t file_bytes(DType t, int64_t rows, int64_t columns) {
  return static_cast<size_t>(rows) * row_bytes(t, columns);
}

// What an engine may spend: rows are a multiple of 16, the scales of 16 rows begin a cache line,
// and the 6-bit scales of K formats have bytes of their own (16 instead of 12 for 256 inputs: 2 to
// 4 %).
size_t most_bytes(DType t, int64_t rows, int64_t columns) {
  const bool six_bits = t == DType::q3_k || t == DType::q4_k || t == DType::q5_k;
  const size_t tiles = static_cast<size_t>((rows + 15) / 16);
  const size_t scales = six_bits ? static_cast<size_t>(columns / 256 * 4) : 0;
  return tiles * (16 * (row_bytes(t, columns) + scales) + 63);
}

TEST(EngineBytes, NoTacticOfAnyLevelWidensWeights) {
  const auto backend = make_backend("cpu", 1);
  for (int i = static_cast<int>(DType::q4_0); i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::vector<ValueType> in = {{DType::f32, {Symbol::tokens, kInputs}},
                                       {dtype, {kOutputs, kInputs}, true}};
    const ValueType out{DType::f32, {Symbol::tokens, kOutputs}};
    const OpSignature signature{Op::linear, LinearAttrs{}.to_attrs(), in, {out}};
    int tactics = 0;
    for (const Tactic* tactic : backend->tactics(Op::linear)) {
      if (!tactic->supports(signature)) continue;
      const std::string_view wanted = tactic->weight_layout(signature, 1);
      const WeightLayout* layout = backend->layout(wanted);
      ASSERT_NE(layout, nullptr) << tactic->name();
      EXPECT_LE(layout->packed_bytes(dtype, Shape{kOutputs, kInputs}),
                most_bytes(dtype, kOutputs, kInputs))
          << name(dtype) << " for " << tactic->name() << " in " << wanted;
      ++tactics;
    }
    EXPECT_GT(tactics, 0) << name(dtype);
  }
}

std::filesystem::path write_config(const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  std::ofstream(path) << R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 320, "hidden_size": 512, "intermediate_size": 768, "num_hidden_layers": 1,
    "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 96, "hidden_act": "silu",
    "max_position_embeddings": 256, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
    "tie_word_embeddings": false, "torch_dtype": "float32"})";
  return path;
}

// The types of which random weights are made; the rest of the formats has the test above.
constexpr DType kRandom[] = {DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,
                             DType::q8_0, DType::q4_k, DType::q5_k, DType::q6_k};

TEST(EngineBytes, EnginesHoldWhatTheFileHolds) {
  const auto backend = make_backend("cpu", 1);
  const testing::TempDir folder;
  const auto config = write_config(folder.path());
  for (const DType dtype : kRandom) {
    BuildOptions o;
    o.output_dir = folder.path() / std::string(name(dtype));
    o.tuning = false;
    o.quiet = true;
    o.max_num_tokens = 64;
    o.max_batch_size = 2;
    build_random(config, dtype, o, *backend);
    const EngineFile engine = EngineFile::open(o.output_dir / "rank0.engine");
    int matrices = 0;
    for (const PlanWeight& w : engine.plan().weights) {
      if (w.shape.size() != 2) continue;
      EXPECT_EQ(w.dtype, dtype) << w.names[0];
      EXPECT_GE(w.bytes, file_bytes(dtype, w.shape[0], w.shape[1]));
      EXPECT_LE(w.bytes, most_bytes(dtype, w.shape[0], w.shape[1]))
          << w.names[0] << " in " << name(dtype) << ", " << w.layout;
      ++matrices;
    }
    EXPECT_GE(matrices, 6) << name(dtype);  // embedding, qkv, dense, gate and up, proj, head
  }
}

}  // namespace
}  // namespace tokamak

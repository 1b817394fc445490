#include "quant/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "../convert/tiny_model.h"
#include "base/block_codec.h"
#include "base/json.h"
#include "convert/convert.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kProj = "transformer.layers.1.mlp.proj.weight";

class Quantize : public ::testing::Test {
 protected:
  Quantize() {
    ::setenv("TOKAMAK_PROGRESS", "0", 1);
    std::mt19937 rng(17);
    std::normal_distribution<float> normal(0, 0.05f);
    for (auto& [name, w] : weights_)
      for (float& v : w.second) v = normal(rng);
  }
  void write_model(const std::string& more = "") {
    write_hf(dir_ / "model", weights_, tiny_config(s_, "LlamaForCausalLM", more));
  }
  ConvertOptions convert_options(const std::string& out) const {
    ConvertOptions o;
    o.model = dir_ / "model";
    o.output_dir = dir_ / out;
    o.workers = 2;
    return o;
  }
  QuantizeOptions options(const std::string& qformat, int64_t group) const {
    return {dir_ / "ckpt", dir_ / "out", make_recipe(qformat, group), 2, true};
  }
  std::string error(const QuantizeOptions& o) const {
    fs::remove_all(o.output_dir);
    const std::string message = error_of([&] { quantize_checkpoint(o); });
    EXPECT_FALSE(fs::exists(o.output_dir)) << message;
    return message;
  }
  std::vector<float> values(const Checkpoint& c, const std::string& name) const {
    const TensorView t = c.tensor(name);
    std::vector<float> out(static_cast<size_t>(t.shape.elems()));
    const int64_t columns = t.shape.back();
    for (int64_t r = 0; r < t.shape.rows(); ++r)
      dequantize_row(t.dtype, t.row(r), out.data() + r * columns, columns);
    return out;
  }

  TempDir dir_;
  TinySizes s_{
      .vocab = 33, .hidden = 128, .wide = 256, .layers = 2, .heads = 4, .kv = 2, .head = 32};
  Weights weights_ = llama_weights(s_);
};

// Root mean square of the difference over that of the values.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, power = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    power += double{a[i]} * a[i];
  }
  return std::sqrt(difference / power);
}

float round_to_f8(float v) {
  std::byte code;
  quantize_row(DType::f8e4m3, &v, &code, 1);
  dequantize_row(DType::f8e4m3, &code, &v, 1);
  return v;
}

struct Case {
  const char* qformat;
  int64_t group;
  bool zero_point;
  DType dtype;
  double most;  // relative error
};

TEST_F(Quantize, EveryFormatReadsBackNearAndNamesItself) {
  write_model();
  convert(convert_options("ckpt"));
  const std::vector<float>& down = weights_.at("model.layers.1.mlp.down_proj.weight").second;
  for (const Case& k :
       {Case{"fp8", -1, false, DType::f8_row, 0.027},
        Case{"int8_wo", -1, false, DType::int8_row, 0.01},
        Case{"int8_wo", 32, false, DType::q8_0, 0.007},
        Case{"int8_wo", 64, true, DType::int8a_g64, 0.007},
        Case{"int4_wo", 128, false, DType::int4_g128, 0.115},
        Case{"int4_wo", 64, true, DType::int4a_g64, 0.09},
        Case{"int4_wo", 32, true, DType::q4_1, 0.08}, Case{"int4_wo", 32, false, DType::q4_0, 0.09},
        Case{"int4_wo", -1, true, DType::int4a_row, 0.12}}) {
    QuantizeOptions o = options(k.qformat, k.group);
    o.recipe.has_zero_point = k.zero_point;
    const QuantReport report = quantize_checkpoint(o);
    EXPECT_EQ(report.quantized, 2 * 5);
    EXPECT_EQ(report.format, name(k.dtype));
    EXPECT_LT(report.quantized_after,
              report.quantized_before * (k.dtype < DType::q8_0 ? 0.2 : 0.3));
    const Checkpoint c = Checkpoint::open(o.output_dir);
    EXPECT_EQ(c.tensor(kProj).dtype, k.dtype);
    EXPECT_TRUE(c.tensor(kProj).shape == (Shape{128, 256}));
    EXPECT_LT(relative_error(down, values(c, kProj)), k.most) << name(k.dtype);
    EXPECT_EQ(c.tensor("lm_head.weight").dtype, DType::f32);
    EXPECT_EQ(c.tensor("transformer.ln_f.weight").dtype, DType::f32);
    const QuantizationConfig& q = c.config().quantization;
    EXPECT_EQ(q.quant_algo, k.dtype == DType::f8_row ? "FP8"
                            : k.qformat[3] == '8'    ? "W8A16"
                                                     : "W4A16");
    EXPECT_EQ(q.group_size, k.group);
    EXPECT_EQ(q.has_zero_point, k.zero_point);
    EXPECT_THAT(q.exclude_modules,
                ::testing::ElementsAre("lm_head", "transformer.vocab_embedding"));
  }
}

// As published: codes with a scale for each row or one for all, which q, k and v share or do not.
TEST_F(Quantize, PublishedFp8WeightsKeepTheirCodes) {
  std::mt19937 rng(5);
  std::uniform_real_distribution<float> draw(0.001f, 0.01f);
  Weights scales;
  for (auto& [name, w] : weights_) {
    if (name.find("_proj") == std::string::npos) continue;
    for (float& v : w.second) v *= 2000;  // codes
    const bool rows =
        name.find("q_proj") != std::string::npos || name.find("mlp") != std::string::npos;
    auto& scale = scales[name + "_scale"];
    scale.first = rows ? std::vector<int64_t>{w.first[0], 1} : std::vector<int64_t>{};
    scale.second.resize(rows ? static_cast<size_t>(w.first[0]) : 1);
    for (float& s : scale.second) s = draw(rng);
  }
  weights_.insert(scales.begin(), scales.end());
  write_model(R"(,"quantization_config":{"quant_method":"fp8","activation_scheme":"dynamic"})");
  const auto expected = [&](const std::string& name, int64_t row, int64_t column) {
    const auto& [shape, codes] = weights_.at(name);
    const auto& scale = weights_.at(name + "_scale").second;
    const float code = codes[static_cast<size_t>(row * shape[1] + column)];
    return round_to_f8(code) * scale[scale.size() == 1 ? 0 : static_cast<size_t>(row)];
  };
  for (const bool keep : {true, false}) {
    ConvertOptions o = convert_options("published");
    o.keep_quantized = keep;
    o.overwrite = true;
    convert(o);
    const Checkpoint c = Checkpoint::open(o.output_dir);
    EXPECT_EQ(c.config().quantization.quant_algo, keep ? "FP8" : "");
    const std::string qkv = "transformer.layers.1.attention.qkv.weight";
    EXPECT_EQ(c.tensor(qkv).dtype, keep ? DType::f8_row : DType::f32);
    EXPECT_EQ(c.tensor("lm_head.weight").dtype, DType::f32);
    const std::vector<float> found = values(c, qkv), down = values(c, kProj);
    const std::string p = "model.layers.1.";
    for (int64_t i = 0; i < s_.hidden; ++i) {
      EXPECT_EQ(found[static_cast<size_t>(5 * s_.hidden + i)],
                expected(p + "self_attn.q_proj.weight", 5, i));
      EXPECT_EQ(found[static_cast<size_t>((s_.heads * s_.head + 3) * s_.hidden + i)],
                expected(p + "self_attn.k_proj.weight", 3, i));
      EXPECT_EQ(down[static_cast<size_t>(9 * s_.wide + i)],
                expected(p + "mlp.down_proj.weight", 9, i));
    }
  }
  weights_.erase("model.layers.0.mlp.up_proj.weight_scale");
  weights_["model.layers.0.mlp.up_proj.weight_scale"] = {{2, 2}, {1, 1, 1, 1}};
  write_model(R"(,"quantization_config":{"quant_method":"fp8"})");
  ConvertOptions o = convert_options("refused");
  EXPECT_THAT(error_of([&] { convert(o); }), HasSubstr("up_proj.weight_scale"));
}

// Static scales of activations stay with the codes: one for q, k and v, the largest of theirs.
TEST_F(Quantize, PublishedStaticScalesGoToTheConfig) {
  Weights scales;
  for (auto& [name, w] : weights_) {
    if (name.find("_proj") == std::string::npos) continue;
    for (float& v : w.second) v *= 2000;
    scales[name + "_scale"] = {{}, {0.004f}};
    const std::string module = name.substr(0, name.size() - std::string(".weight").size());
    const bool k = name.find("k_proj") != std::string::npos;
    scales[module + ".input_scale"] = {{}, {k ? 0.5f : 0.25f}};
  }
  weights_.insert(scales.begin(), scales.end());
  const char* const published[] = {
      R"(,"quantization_config":{"quant_method":"fp8","activation_scheme":"static"})",
      R"(,"quantization_config":{"quant_method":"modelopt","quant_algo":"FP8"})",
      R"(,"quantization_config":{"quant_method":"compressed-tensors","format":"float-quantized"})"};
  for (const char* config : published) {
    write_model(config);
    for (const bool keep : {true, false}) {
      ConvertOptions o = convert_options("published");
      o.keep_quantized = keep;
      o.overwrite = true;
      convert(o);
      const auto found = Checkpoint::open(o.output_dir).config().quantization.activation_scales;
      EXPECT_EQ(found.size(), keep ? 5u * static_cast<size_t>(s_.layers) : 0u);
      if (!keep) continue;
      EXPECT_EQ(found.at("transformer.layers.1.attention.qkv"), 0.5);
      EXPECT_EQ(found.at("transformer.layers.0.mlp.proj"), 0.25);
    }
  }
  write_model(R"(,"quantization_config":{"quant_method":"modelopt","quant_algo":"NVFP4"})");
  ConvertOptions o = convert_options("refused");
  EXPECT_THAT(error_of([&] { convert(o); }), HasSubstr("'modelopt'"));
  for (const auto& wrong : {std::vector<float>{-1}, std::vector<float>{1, 2}}) {
    weights_["model.layers.0.mlp.up_proj.input_scale"] = {{static_cast<int64_t>(wrong.size())},
                                                          wrong};
    write_model(R"(,"quantization_config":{"quant_method":"fp8"})");
    EXPECT_THAT(error_of([&] { convert(o); }), HasSubstr("up_proj.input_scale"));
  }
}

TEST_F(Quantize, OnePassThroughConvertGivesTheSameBytes) {
  write_model();
  std::ofstream(dir_ / "model/tokenizer.json") << "{}";
  for (int tp : {1, 2}) {
    ConvertOptions plain = convert_options("ckpt");
    plain.overwrite = true;
    plain.tp_size = tp;
    convert(plain);
    ConvertOptions direct = convert_options("direct");
    direct.overwrite = true;
    direct.tp_size = tp;
    direct.quant = make_recipe("int4_wo", 64);
    const QuantReport a = convert(direct);
    QuantizeOptions o = options("int4_wo", 64);
    const QuantReport b = quantize_checkpoint(o);
    EXPECT_EQ(a.quantized_after, b.quantized_after);
    EXPECT_EQ(a.quantized_before, b.quantized_before);
    for (int rank = 0; rank < tp; ++rank) {
      const Checkpoint x = Checkpoint::open(dir_ / "direct", rank);
      const Checkpoint y = Checkpoint::open(dir_ / "out", rank);
      EXPECT_EQ(x.names(), y.names());
      for (const std::string& n : x.names()) {
        ASSERT_EQ(x.tensor(n).dtype, y.tensor(n).dtype) << n;
        ASSERT_EQ(std::memcmp(x.tensor(n).data, y.tensor(n).data, x.tensor(n).bytes()), 0) << n;
      }
    }
    EXPECT_EQ(read_text(dir_ / "direct/config.json"), read_text(dir_ / "out/config.json"));
    EXPECT_EQ(read_text(dir_ / "out/tokenizer.json"), "{}");
  }
}

TEST_F(Quantize, RanksHoldTheGroupsOfTheWhole) {
  write_model();
  ConvertOptions o = convert_options("whole");
  o.quant = make_recipe("int4_wo", 64);
  convert(o);
  o.output_dir = dir_ / "split";
  o.tp_size = 2;
  convert(o);
  const std::vector<float> whole = values(Checkpoint::open(dir_ / "whole"), kProj);
  for (int rank : {0, 1}) {
    const std::vector<float> part = values(Checkpoint::open(dir_ / "split", rank), kProj);
    for (int64_t r = 0; r < 128; ++r)
      for (int64_t k = 0; k < 128; ++k)
        ASSERT_EQ(part[static_cast<size_t>(r * 128 + k)],
                  whole[static_cast<size_t>(r * 256 + rank * 128 + k)]);
  }
  o.tp_size = 4;  // shares of 32 columns of dense, 64 of proj
  o.overwrite = true;
  EXPECT_THAT(
      error_of([&] { convert(o); }),
      AllOf(HasSubstr("--group_size 64"), HasSubstr("32 inputs"), HasSubstr("attention.dense"),
            HasSubstr("4 ranks"), HasSubstr("would do: 32, -1")));
}

// Two ranks' parts of a matrix of the tiny model put together: halves of the inputs, of the outputs
// (q, k and v each for itself), or the same on both.
std::vector<float> joined(const std::vector<float>& a, const std::vector<float>& b,
                          const std::vector<int64_t>& blocks, int64_t columns, bool by_inputs) {
  std::vector<float> out;
  const auto take = [&](const std::vector<float>& from, int64_t first, int64_t rows) {
    out.insert(out.end(), from.begin() + first * columns, from.begin() + (first + rows) * columns);
  };
  if (by_inputs) {
    for (int64_t r = 0; r < blocks[0]; ++r) take(a, r, 1), take(b, r, 1);
    return out;
  }
  int64_t at = 0;
  for (int64_t rows : blocks) {
    take(a, at, rows);
    take(b, at, rows);
    at += rows;
  }
  return out;
}

TEST_F(Quantize, TwoRanksTogetherAreTheWhole) {
  write_model();
  for (const auto& [qformat, group, zero_point] : {std::tuple("int8_wo", 32, false),
                                                   {"int8_wo", 64, true},
                                                   {"int4_wo", 32, true},
                                                   {"int4_wo", 64, false},
                                                   {"int4_wo", 64, true},
                                                   {"int8_wo", -1, false}}) {
    ConvertOptions o = convert_options("whole");
    o.overwrite = true;
    o.quant = make_recipe(qformat, group);
    o.quant.has_zero_point = zero_point;
    convert(o);
    o.output_dir = dir_ / "split";
    o.tp_size = 2;
    convert(o);
    const Checkpoint whole = Checkpoint::open(dir_ / "whole");
    const Checkpoint a = Checkpoint::open(dir_ / "split", 0),
                     b = Checkpoint::open(dir_ / "split", 1);
    int compared = 0;
    for (const std::string& n : whole.names()) {
      const TensorView w = whole.tensor(n), part = a.tensor(n);
      if (!is_block_format(w.dtype)) continue;
      ASSERT_EQ(part.dtype, w.dtype) << n;
      const bool by_inputs = part.shape[1] != w.shape[1];
      if (by_inputs && group < 0) continue;  // each rank's half of a row has a scale of its own
      const std::vector<int64_t> blocks = n.find("attention.qkv") != std::string::npos
                                              ? std::vector<int64_t>{64, 32, 32}
                                              : std::vector<int64_t>{part.shape[0]};
      EXPECT_EQ(joined(values(a, n), values(b, n), blocks, part.shape[1], by_inputs),
                values(whole, n))
          << n << " in " << name(w.dtype);
      ++compared;
    }
    EXPECT_EQ(compared, group < 0 ? 6 : 10);  // of two layers
  }
}

TEST_F(Quantize, ExcludedModulesStay) {
  write_model();
  convert(convert_options("ckpt"));
  QuantizeOptions o = options("int8_wo", -1);
  o.recipe.exclude_modules = {"mlp.proj", "transformer.layers.0.attention.*"};
  o.recipe.quantize_lm_head = true;
  quantize_checkpoint(o);
  const Checkpoint c = Checkpoint::open(o.output_dir);
  EXPECT_EQ(c.tensor(kProj).dtype, DType::f32);
  EXPECT_EQ(c.tensor("transformer.layers.0.attention.qkv.weight").dtype, DType::f32);
  EXPECT_EQ(c.tensor("transformer.layers.1.attention.qkv.weight").dtype, DType::int8_row);
  EXPECT_EQ(c.tensor("lm_head.weight").dtype, DType::int8_row);
  EXPECT_EQ(c.tensor("transformer.vocab_embedding.weight").dtype, DType::f32);
  o.recipe.exclude_modules = {"mlp.down_proj"};
  EXPECT_THAT(error(o), AllOf(HasSubstr("'mlp.down_proj' matches no module"),
                              HasSubstr("attention.qkv"), HasSubstr("mlp.proj")));
  o.recipe.exclude_modules = {"*"};
  EXPECT_THAT(error(o), HasSubstr("nothing is left to quantize"));
}

TEST_F(Quantize, ATiedTableIsQuantizedByEitherFlag) {
  weights_.erase("lm_head.weight");
  write_model(R"(,"tie_word_embeddings":true)");
  convert(convert_options("ckpt"));
  QuantizeOptions o = options("int8_wo", -1);
  for (int flags : {0, 1, 2, 3}) {
    o.recipe.quantize_lm_head = flags & 1;
    o.recipe.quantize_embedding = flags & 2;
    const QuantReport report = quantize_checkpoint(o);
    const Checkpoint c = Checkpoint::open(o.output_dir);
    EXPECT_EQ(c.tensor("transformer.vocab_embedding.weight").dtype,
              flags ? DType::int8_row : DType::f32);
    EXPECT_EQ(c.config().quantization.exclude_modules.empty(), flags != 0);
    EXPECT_EQ(report.notices.size(), flags == 1 || flags == 2 ? 1u : 0u);
  }
}

TEST_F(Quantize, StagesSpeakOfTheWholeModelsLayers) {
  write_model();
  ConvertOptions c = convert_options("ckpt");
  c.pp_size = 2;
  convert(c);
  QuantizeOptions o = options("int8_wo", -1);
  o.recipe.exclude_modules = {"transformer.layers.1.*"};
  quantize_checkpoint(o);
  const std::string fc = "transformer.layers.0.mlp.fc.weight";
  EXPECT_EQ(Checkpoint::open(o.output_dir, 0).tensor(fc).dtype, DType::int8_row);
  EXPECT_EQ(Checkpoint::open(o.output_dir, 1).tensor(fc).dtype, DType::f32);
}

TEST_F(Quantize, GroupsThatDoNotFitAreNamed) {
  s_.wide = 96;
  weights_ = llama_weights(s_);
  write_model();
  convert(convert_options("ckpt"));
  EXPECT_THAT(error(options("int4_wo", 64)),
              AllOf(HasSubstr("--group_size 64"), HasSubstr("96 inputs"),
                    HasSubstr("transformer.layers.0.mlp.proj.weight"),
                    HasSubstr("would do: 32, -1"), HasSubstr("--exclude_modules mlp.proj")));
  EXPECT_THAT(error_of([] { make_recipe("int4_wo", 48); }), HasSubstr("--group_size is 48"));
  EXPECT_THAT(error_of([] { make_recipe("fp6", {}); }), HasSubstr("fp8, int8_wo, int4_wo"));
  EXPECT_EQ(make_recipe("int8_wo", {}).group_size, 64);
  EXPECT_EQ(make_recipe("int4_wo", {}).group_size, 128);
}

TEST_F(Quantize, UnnamedGroupsTakeWhatFitsEachTensor) {
  s_.wide = 96;
  weights_ = llama_weights(s_);
  write_model();
  convert(convert_options("ckpt"));
  QuantizeOptions o = options("int8_wo", 64);
  o.recipe = make_recipe("int8_wo", {});
  EXPECT_THAT(quantize_checkpoint(o).format, AllOf(HasSubstr("int8_g64"), HasSubstr("+q8_0")));
  const Checkpoint c = Checkpoint::open(o.output_dir);
  EXPECT_EQ(c.tensor("transformer.layers.0.mlp.fc.weight").dtype, DType::int8_g64);
  EXPECT_EQ(c.tensor(kProj).dtype, DType::q8_0);
  EXPECT_EQ(c.config().quantization.group_size, 64);
}

TEST_F(Quantize, ValuesThatCannotBeHeldAreNamed) {
  for (float bad : {NAN, INFINITY, -INFINITY, 3e8f}) {
    Weights damaged = weights_;
    damaged["model.layers.1.mlp.down_proj.weight"].second[3 * 256 + 7] = bad;
    std::swap(damaged, weights_);
    write_model();
    std::swap(damaged, weights_);
    fs::remove_all(dir_ / "ckpt");
    convert(convert_options("ckpt"));
    for (const char* qformat : {"int8_wo", "int4_wo"}) {
      EXPECT_THAT(error(options(qformat, 64)),
                  AllOf(HasSubstr(kProj), HasSubstr("row 3, column 7")));
      ConvertOptions direct = convert_options("out");
      direct.quant = make_recipe(qformat, 64);
      EXPECT_THAT(error_of([&] { convert(direct); }),
                  AllOf(HasSubstr(kProj), HasSubstr("row 3, column 7")));
      EXPECT_FALSE(fs::exists(dir_ / "out"));
    }
  }
}

TEST_F(Quantize, AQuantizedCheckpointIsRefused) {
  write_model();
  convert(convert_options("ckpt"));
  quantize_checkpoint(options("int8_wo", 32));
  fs::rename(dir_ / "out", dir_ / "int8");
  for (const char* qformat : {"int4_wo", "int8_wo"}) {
    QuantizeOptions again = options(qformat, 32);
    again.checkpoint_dir = dir_ / "int8";
    EXPECT_THAT(error(again), AllOf(HasSubstr("int8' is quantized already (W8A16, groups of 32)"),
                                    HasSubstr("the checkpoint it was made from")));
  }
}

// Blocks of a GGUF are a model as it was published: the only one that its user may have.
TEST_F(Quantize, BlocksOfAGgufAreQuantizedAgainWithANotice) {
  write_model();
  convert(convert_options("ckpt"));
  quantize_checkpoint(options("int8_wo", 32));
  const fs::path config = dir_ / "out/config.json";
  Json j = load_json(config);
  j["quantization"] = {{"quant_algo", "GGUF"}};
  std::ofstream(config) << j;
  QuantizeOptions again = options("int4_wo", 32);
  again.checkpoint_dir = dir_ / "out";
  again.output_dir = dir_ / "again";
  const QuantReport report = quantize_checkpoint(again);
  ASSERT_EQ(report.notices.size(), 1u);
  EXPECT_THAT(report.notices[0],
              AllOf(HasSubstr("10 tensors were quantized before"), HasSubstr("q8_0")));
  EXPECT_EQ(Checkpoint::open(again.output_dir).tensor(kProj).dtype, DType::q4_0);
  again.recipe = make_recipe("int8_wo", 32);  // the same format again is a copy
  again.output_dir = dir_ / "same";
  EXPECT_EQ(quantize_checkpoint(again).quantized, 0);
  const Checkpoint x = Checkpoint::open(dir_ / "out"), y = Checkpoint::open(dir_ / "same");
  EXPECT_EQ(std::memcmp(x.tensor(kProj).data, y.tensor(kProj).data, x.tensor(kProj).bytes()), 0);
}

TEST_F(Quantize, DamagedCheckpointsAreErrors) {
  write_model();
  convert(convert_options("ckpt"));
  const fs::path rank = dir_ / "ckpt/rank0.safetensors";
  const std::string good = read_text(rank);
  std::mt19937 rng(23);
  const QuantizeOptions o = options("int4_wo", 32);
  for (int i = 0; i < 200; ++i) {
    std::string s = good;
    for (int n = 0; n < 3; ++n) s[rng() % 3000] = static_cast<char>(rng());
    if (i % 4 == 0) s.resize(rng() % s.size());
    std::ofstream(rank, std::ios::binary) << s;
    error_of([&] { quantize_checkpoint(o); });  // an Error or a result, never a crash
  }
  std::ofstream(rank, std::ios::binary) << good.substr(0, good.size() - 5);
  EXPECT_THAT(error(o), HasSubstr("rank0.safetensors"));
  fs::remove(rank);
  EXPECT_THAT(error(o), HasSubstr("is not a checkpoint"));
}

TEST_F(Quantize, KilledAtAnyMomentLeavesAllOrNothing) {
  s_ = {.vocab = 64, .hidden = 512, .wide = 1024, .layers = 4, .heads = 8, .kv = 4, .head = 64};
  weights_ = llama_weights(s_);
  write_model();
  convert(convert_options("ckpt"));
  std::mt19937 rng(29);
  int absent = 0;
  for (int i = 0; i < 24; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        quantize_checkpoint(options("int4_wo", 64));
        ::_exit(0);
      } catch (...) {
        ::_exit(2);
      }
    }
    ::usleep(std::uniform_int_distribution<useconds_t>(0, 80000)(rng));
    const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    ::kill(child, signals[i % 3]);
    int status = 0;
    ::waitpid(child, &status, 0);
    const bool complete = fs::exists(dir_ / "out");
    absent += !complete;
    if (complete) {
      EXPECT_EQ(Checkpoint::open(dir_ / "out").tensor(kProj).dtype, DType::int4_g64);
    }
    if (i % 3 != 2) {  // asked to end: no temporary either
      for (const auto& e : fs::directory_iterator(dir_.path()))
        EXPECT_FALSE(e.path().filename().string().starts_with(".out"))
            << "signal " << signals[i % 3];
    }
    for (const auto& e : fs::directory_iterator(dir_.path()))
      if (e.path().filename() != "model" && e.path().filename() != "ckpt") fs::remove_all(e.path());
  }
  EXPECT_GT(absent, 0);
}

TEST_F(Quantize, ConfigRefusesNonsense) {
  write_model();
  convert(convert_options("ckpt"));
  const Json good = load_json(dir_ / "ckpt/config.json");
  const auto with = [&](const char* field, const Json& value) {
    Json j = good;
    j["quantization"][field] = value;
    return error_of([&] { ModelConfig::from_json(j, "c"); });
  };
  EXPECT_EQ(with("quant_algo", "W4A16"), "");
  EXPECT_THAT(with("quant_algo", "W3A16"), HasSubstr("'W3A16'; known"));
  EXPECT_THAT(with("group_size", 48), HasSubstr("group_size is 48"));
  EXPECT_THAT(with("pre_quant_scale", true), HasSubstr("pre_quant_scale"));
  EXPECT_THAT(with("kv_cache_quant_algo", "FP5"), HasSubstr("'FP5'"));
}

}  // namespace
}  // namespace tokamak

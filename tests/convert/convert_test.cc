#include "convert/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>

#include "base/block_codec.h"
#include "base/json.h"
#include "tiny_model.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Convert : public ::testing::Test {
 protected:
  Convert() { ::setenv("TOKAMAK_PROGRESS", "0", 1); }
  void write_llama(const std::string& more = "") {
    write_hf(dir_ / "model", weights_, tiny_config(s_, "LlamaForCausalLM", more));
  }
  ConvertOptions options() const {
    ConvertOptions o;
    o.model = dir_ / "model";
    o.output_dir = dir_ / "out";
    o.workers = 2;
    return o;
  }
  Checkpoint converted(const ConvertOptions& o, int rank = 0) const {
    if (rank == 0) convert(o);
    return Checkpoint::open(o.output_dir, rank);
  }
  std::string error(const ConvertOptions& o) const {
    const std::string message = error_of([&] { convert(o); });
    EXPECT_FALSE(fs::exists(o.output_dir)) << message;
    return message;
  }
  const std::vector<float>& w(const std::string& name) const { return weights_.at(name).second; }

  TempDir dir_;
  TinySizes s_;
  Weights weights_ = llama_weights(s_);
};

TEST_F(Convert, LlamaGoesToTheNamesOfTheCheckpoint) {
  write_llama();
  std::ofstream(dir_ / "model/tokenizer.json") << "{}";
  const Checkpoint c = converted(options());
  EXPECT_EQ(c.names().size(), 3u + 2 * 7);
  const std::string p = "model.layers.1.self_attn.";
  EXPECT_EQ(floats(c, "transformer.layers.1.attention.qkv.weight"),
            joined({w(p + "q_proj.weight"), w(p + "k_proj.weight"), w(p + "v_proj.weight")}));
  EXPECT_EQ(floats(c, "transformer.layers.0.mlp.fc.weight"),
            w("model.layers.0.mlp.gate_proj.weight"));
  EXPECT_EQ(floats(c, "transformer.layers.0.mlp.gate.weight"),
            w("model.layers.0.mlp.up_proj.weight"));
  EXPECT_EQ(floats(c, "transformer.layers.0.post_layernorm.weight"),
            w("model.layers.0.post_attention_layernorm.weight"));
  EXPECT_EQ(floats(c, "lm_head.weight"), w("lm_head.weight"));
  EXPECT_EQ(read_text(dir_ / "out/tokenizer.json"), "{}");
}

TEST_F(Convert, DtypeIsAppliedAndNormsStayFloat32) {
  write_llama();
  ConvertOptions o = options();
  o.dtype = "bfloat16";
  const Checkpoint c = converted(o);
  EXPECT_EQ(c.config().dtype, DType::bf16);
  EXPECT_EQ(c.tensor("lm_head.weight").dtype, DType::bf16);
  EXPECT_EQ(c.tensor("transformer.ln_f.weight").dtype, DType::f32);
  const auto& head = w("lm_head.weight");
  const auto found = floats(c, "lm_head.weight");
  for (size_t i = 0; i < head.size(); ++i) EXPECT_EQ(found[i], bf16_to_f32(f32_to_bf16(head[i])));
}

TEST_F(Convert, TensorParallelSplits) {
  write_llama();
  ConvertOptions o = options();
  o.tp_size = 2;
  for (int rank : {0, 1}) {
    const Checkpoint c = converted(o, rank);
    const std::string p = "model.layers.0.self_attn.";
    const int64_t q = rank * 8, kv = rank * 4;
    EXPECT_EQ(floats(c, "transformer.layers.0.attention.qkv.weight"),
              joined({rows(w(p + "q_proj.weight"), 16, q, q + 8),
                      rows(w(p + "k_proj.weight"), 16, kv, kv + 4),
                      rows(w(p + "v_proj.weight"), 16, kv, kv + 4)}));
    const auto& down = w("model.layers.1.mlp.down_proj.weight");
    const auto found = floats(c, "transformer.layers.1.mlp.proj.weight");
    ASSERT_EQ(found.size(), 16u * 12);
    for (int64_t r = 0; r < 16; ++r)
      for (int64_t k = 0; k < 12; ++k) ASSERT_EQ(found[r * 12 + k], down[r * 24 + rank * 12 + k]);
    // 11 words on two ranks of 6: the last row is padding.
    auto head = floats(c, "lm_head.weight");
    ASSERT_EQ(head.size(), 6u * 16);
    if (rank == 1) {
      EXPECT_EQ(rows(head, 16, 5, 6), std::vector<float>(16, 0.0f));
    }
    EXPECT_EQ(rows(head, 16, 0, 5), rows(w("lm_head.weight"), 16, rank * 6, rank * 6 + 5));
    EXPECT_EQ(c.config().extra.at("vocab_size_padded"), "12");
    EXPECT_EQ(floats(c, "transformer.ln_f.weight"), w("model.norm.weight"));
  }
}

TEST_F(Convert, KeyValueHeadsAreRepeatedOnMoreRanks) {
  write_llama();
  ConvertOptions o = options();
  o.tp_size = 4;
  for (int rank = 0; rank < 4; ++rank) {
    const Checkpoint c = converted(o, rank);
    const std::string p = "model.layers.0.self_attn.";
    const int64_t kv = rank / 2 * 4;
    EXPECT_EQ(floats(c, "transformer.layers.0.attention.qkv.weight"),
              joined({rows(w(p + "q_proj.weight"), 16, rank * 4, rank * 4 + 4),
                      rows(w(p + "k_proj.weight"), 16, kv, kv + 4),
                      rows(w(p + "v_proj.weight"), 16, kv, kv + 4)}));
  }
}

TEST_F(Convert, PipelineStagesHoldTheirLayers) {
  write_llama();
  ConvertOptions o = options();
  o.pp_size = 2;
  const Checkpoint first = converted(o, 0), second = converted(o, 1);
  EXPECT_TRUE(first.has("transformer.vocab_embedding.weight"));
  EXPECT_FALSE(first.has("lm_head.weight"));
  EXPECT_FALSE(second.has("transformer.vocab_embedding.weight"));
  EXPECT_TRUE(second.has("transformer.ln_f.weight"));
  EXPECT_EQ(floats(second, "transformer.layers.0.mlp.fc.weight"),
            w("model.layers.1.mlp.gate_proj.weight"));
  EXPECT_FALSE(first.has("transformer.layers.1.mlp.fc.weight"));
}

TEST_F(Convert, WhatDoesNotDivideIsRefusedWithWhatWould) {
  write_llama();
  ConvertOptions o = options();
  o.tp_size = 3;
  EXPECT_THAT(error(o), AllOf(HasSubstr("--tp_size is 3"), HasSubstr("would do: 1, 2, 4")));
  o.tp_size = 1;
  o.pp_size = 3;
  EXPECT_THAT(error(o), AllOf(HasSubstr("--pp_size is 3"), HasSubstr("would do: 1, 2")));
  o.pp_size = 0;
  EXPECT_THAT(error(o), HasSubstr("--pp_size is 0"));
  o.pp_size = 1;
  o.dtype = "int8";
  EXPECT_THAT(error(o), HasSubstr("--dtype is 'int8'"));
}

TEST_F(Convert, MissingExtraAndMisshapenWeights) {
  weights_.erase("model.layers.1.mlp.up_proj.weight");
  write_llama();
  EXPECT_THAT(error(options()), HasSubstr("'model.layers.1.mlp.up_proj.weight' is missing"));
  weights_ = llama_weights(s_);
  put(weights_, "model.layers.2.mlp.up_proj.weight", {24, 16});
  write_llama();
  EXPECT_THAT(error(options()), HasSubstr("has no place in a LlamaForCausalLM model of 2 layers"));
  weights_ = llama_weights(s_);
  weights_["model.layers.0.mlp.up_proj.weight"].first = {16, 24};
  write_llama();
  EXPECT_THAT(error(options()), HasSubstr("has shape [16, 24], expected [24, 16]"));
  weights_ = llama_weights(s_);
  put(weights_, "model.layers.0.self_attn.rotary_emb.inv_freq", {2});
  write_llama(R"(,"tie_word_embeddings":true)");
  convert(options());  // known left-overs, and the head of a tied model
  EXPECT_FALSE(Checkpoint::open(dir_ / "out").has("lm_head.weight"));
}

TEST_F(Convert, ExistingOutputAndForeignPlaces) {
  write_llama();
  convert(options());
  EXPECT_THAT(error_of([&] { convert(options()); }), HasSubstr("--overwrite"));
  ConvertOptions o = options();
  o.overwrite = true;
  o.dtype = "float16";
  EXPECT_EQ(converted(o).config().dtype, DType::f16);
  o = options();
  o.model = dir_ / "nothing";
  EXPECT_THAT(error_of([&] { convert(o); }), HasSubstr("does not exist"));
  o.model = dir_.path();
  EXPECT_THAT(error_of([&] { convert(o); }), HasSubstr("neither config.json nor a .gguf"));
}

TEST_F(Convert, Phi3FusedTensorsComeApart) {
  Weights w = llama_weights(s_);
  for (int i = 0; i < 2; ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".";
    for (const char* n : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                          "mlp.gate_proj", "mlp.up_proj"})
      w.erase(p + n + ".weight");
    put(w, p + "self_attn.qkv_proj.weight", {32, 16});
    put(w, p + "mlp.gate_up_proj.weight", {48, 16});
  }
  write_hf(dir_ / "model", w, tiny_config(s_, "Phi3ForCausalLM"));
  const Checkpoint c = converted(options());
  EXPECT_EQ(floats(c, "transformer.layers.1.attention.qkv.weight"),
            w.at("model.layers.1.self_attn.qkv_proj.weight").second);
  EXPECT_EQ(floats(c, "transformer.layers.1.mlp.gate.weight"),
            rows(w.at("model.layers.1.mlp.gate_up_proj.weight").second, 16, 24, 48));
}

TEST_F(Convert, InternLM2GroupsComeApart) {
  Weights w;
  put(w, "model.tok_embeddings.weight", {11, 16});
  put(w, "model.norm.weight", {16});
  put(w, "output.weight", {11, 16});
  for (int i = 0; i < 2; ++i) {
    const std::string p = "model.layers." + std::to_string(i) + ".";
    put(w, p + "attention_norm.weight", {16});
    put(w, p + "ffn_norm.weight", {16});
    put(w, p + "attention.wqkv.weight", {32, 16});
    put(w, p + "attention.wqkv.bias", {32});
    put(w, p + "attention.wo.weight", {16, 16});
    put(w, p + "attention.wo.bias", {16});
    put(w, p + "feed_forward.w1.weight", {24, 16});
    put(w, p + "feed_forward.w3.weight", {24, 16});
    put(w, p + "feed_forward.w2.weight", {16, 24});
  }
  write_hf(dir_ / "model", w, tiny_config(s_, "InternLM2ForCausalLM"));
  const Checkpoint c = converted(options());
  // Two groups of [q q k v] with heads of 4 rows.
  for (const auto& [name, columns] : {std::pair("weight", 16), std::pair("bias", 1)}) {
    const auto& fused = w.at(std::string("model.layers.1.attention.wqkv.") + name).second;
    const auto part = [&](int64_t begin, int64_t end) { return rows(fused, columns, begin, end); };
    EXPECT_EQ(
        floats(c, std::string("transformer.layers.1.attention.qkv.") + name),
        joined({part(0, 8), part(16, 24), part(8, 12), part(24, 28), part(12, 16), part(28, 32)}));
  }
}

TEST_F(Convert, GemmaNormsGetTheirOne) {
  weights_.erase("lm_head.weight");
  write_hf(dir_ / "model", weights_, tiny_config(s_, "GemmaForCausalLM"));
  ConvertOptions o = options();
  o.dtype = "bfloat16";
  const Checkpoint c = converted(o);
  std::vector<float> expected = w("model.norm.weight");
  for (float& v : expected) v += 1;
  EXPECT_EQ(floats(c, "transformer.ln_f.weight"), expected);
}

// A LLaMA GGUF whose matrices are in blocks and whose q and k rows are in llama.cpp's order.
std::string tiny_gguf(bool mixed, std::map<std::string, std::vector<float>>& values) {
  GgufBuilder b;
  b.add("general.architecture", "llama").add("llama.embedding_length", 64u);
  b.add("llama.block_count", 1u).add("llama.attention.head_count", 4u);
  b.add("llama.attention.head_count_kv", 2u).add("llama.feed_forward_length", 96u);
  b.add("llama.context_length", 64u).add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  b.add("tokenizer.ggml.model", "gpt2").add("tokenizer.chat_template", "{{ x }}");
  b.add("tokenizer.ggml.eos_token_id", 2u);
  b.add_array<std::string>("tokenizer.ggml.tokens", GgufType::string, {"a", "<|im_end|>", "b"});
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  const auto add = [&](const std::string& name, DType t, uint32_t id, uint64_t rows,
                       uint64_t cols) {
    std::vector<float>& v = values[name];
    v.resize(rows * cols);
    for (float& x : v) x = normal(rng);
    std::string data(bytes_of(t, static_cast<int64_t>(v.size())), '\0');
    quantize_row(t, v.data(), reinterpret_cast<std::byte*>(data.data()),
                 static_cast<int64_t>(v.size()));
    dequantize_row(t, reinterpret_cast<const std::byte*>(data.data()), v.data(),
                   static_cast<int64_t>(v.size()));
    b.tensor(name, id, rows == 1 ? std::vector<uint64_t>{cols} : std::vector<uint64_t>{rows, cols},
             data);
  };
  add("token_embd.weight", DType::q8_0, 8, 10, 64);
  add("output_norm.weight", DType::f32, 0, 1, 64);
  add("blk.0.attn_norm.weight", DType::f32, 0, 1, 64);
  add("blk.0.ffn_norm.weight", DType::f32, 0, 1, 64);
  add("blk.0.attn_q.weight", DType::q4_0, 2, 64, 64);
  add("blk.0.attn_k.weight", DType::q4_0, 2, 32, 64);
  add("blk.0.attn_v.weight", mixed ? DType::q8_0 : DType::q4_0, mixed ? 8 : 2, 32, 64);
  add("blk.0.attn_output.weight", DType::q4_0, 2, 64, 64);
  add("blk.0.ffn_gate.weight", DType::q4_0, 2, 96, 64);
  add("blk.0.ffn_up.weight", DType::q4_0, 2, 96, 64);
  add("blk.0.ffn_down.weight", DType::q4_0, 2, 64, 96);
  return b.str();
}

// Rows h*16 + 2i, 2i+1 back to h*16 + i, 8 + i.
std::vector<float> rope_halves(const std::vector<float>& m, int64_t heads) {
  std::vector<float> out;
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t half : {0, 1})
      for (int64_t i = 0; i < 8; ++i) {
        const auto row = rows(m, 64, h * 16 + 2 * i + half, h * 16 + 2 * i + half + 1);
        out.insert(out.end(), row.begin(), row.end());
      }
  return out;
}

TEST_F(Convert, GgufBlocksAreKeptOrWidened) {
  std::map<std::string, std::vector<float>> v;
  dir_.write("m.gguf", tiny_gguf(false, v));
  const std::vector<float> qkv =
      joined({rope_halves(v["blk.0.attn_q.weight"], 4), rope_halves(v["blk.0.attn_k.weight"], 2),
              v["blk.0.attn_v.weight"]});
  ConvertOptions o = options();
  o.model = dir_ / "m.gguf";
  {
    const Checkpoint c = converted(o);
    EXPECT_EQ(c.config().quantization.quant_algo, "GGUF");
    const TensorView t = c.tensor("transformer.layers.0.attention.qkv.weight");
    EXPECT_EQ(t.dtype, DType::q4_0);
    EXPECT_TRUE(t.shape == (Shape{128, 64}));
    std::vector<float> found(128 * 64);
    dequantize_row(t.dtype, t.data, found.data(), 128 * 64);
    EXPECT_EQ(found, qkv);
    EXPECT_TRUE(c.config().tie_word_embeddings);
    EXPECT_EQ(read_text(dir_ / "out/chat_template.jinja"), "{{ x }}");
    EXPECT_THAT(read_text(dir_ / "out/generation_config.json"), HasSubstr("1,\n    2"));
    EXPECT_EQ(GgufFile(dir_ / "out/tokenizer.gguf").get_strings("tokenizer.ggml.tokens").size(),
              3u);
  }
  o.overwrite = true;
  o.dtype = "float32";
  {
    const Checkpoint c = converted(o);
    EXPECT_EQ(floats(c, "transformer.layers.0.attention.qkv.weight"), qkv);
    EXPECT_EQ(c.config().quantization.quant_algo, "");
  }
  dir_.write("m.gguf", tiny_gguf(true, v));  // v in another format: the three stay apart
  o.dtype = "auto";
  const Checkpoint c = converted(o);
  EXPECT_EQ(c.tensor("transformer.layers.0.attention.q.weight").dtype, DType::q4_0);
  EXPECT_EQ(c.tensor("transformer.layers.0.attention.v.weight").dtype, DType::q8_0);
}

TEST_F(Convert, BlocksAreNotCut) {
  std::map<std::string, std::vector<float>> v;
  dir_.write("m.gguf", tiny_gguf(false, v));
  ConvertOptions o = options();
  o.model = dir_ / "m.gguf";
  o.tp_size = 2;  // rows of 96: two halves of 48 would cut a block of 32
  EXPECT_THAT(error(o),
              AllOf(HasSubstr("blk.0.ffn_down.weight"), HasSubstr("would do for it: 1, 3")));
  o.keep_quantized = false;
  const auto& down = v["blk.0.ffn_down.weight"];
  const Checkpoint c = converted(o);
  const auto found = floats(c, "transformer.layers.0.mlp.proj.weight");
  for (int64_t r = 0; r < 64; ++r)
    for (int64_t k = 0; k < 48; ++k) ASSERT_EQ(found[r * 48 + k], down[r * 96 + k]);
}

TEST_F(Convert, KilledAtAnyMomentLeavesAllOrNothing) {
  s_ = {.vocab = 4000, .hidden = 256, .wide = 512, .layers = 4, .heads = 8, .kv = 4, .head = 32};
  weights_ = llama_weights(s_);
  write_llama();
  std::mt19937 rng(21);
  int complete = 0, absent = 0;
  for (int i = 0; i < 45; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        ConvertOptions o = options();
        o.overwrite = true;
        convert(o);
        ::_exit(0);
      } catch (...) {
        ::_exit(2);
      }
    }
    ::usleep(std::uniform_int_distribution<useconds_t>(0, 60000)(rng));
    const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    ::kill(child, signals[i % 3]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!fs::exists(dir_ / "out")) {
      ++absent;
    } else {
      ++complete;
      const Checkpoint c = Checkpoint::open(dir_ / "out");
      EXPECT_EQ(floats(c, "lm_head.weight"), w("lm_head.weight"));
    }
    for (const auto& e : fs::directory_iterator(dir_.path()))
      if (e.path().filename() != "model") fs::remove_all(e.path());
  }
  EXPECT_GT(absent, 0);
  RecordProperty("complete", complete);
}

TEST_F(Convert, FileSizeLimitIsOneLine) {
  write_llama();
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error(options());
    ::_exit(message.find("file size limit") != std::string::npos ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_.path()), fs::directory_iterator()), 1);
}

TEST_F(Convert, DamagedModelsAreErrors) {
  std::map<std::string, std::vector<float>> v;
  const std::string good = tiny_gguf(true, v);
  std::mt19937 rng(8);
  int opened = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string s = good;
    const auto below = [&](size_t n) {
      return std::uniform_int_distribution<size_t>(0, n - 1)(rng);
    };
    for (size_t n = 1 + below(3); n > 0; --n) s[below(1500)] = static_cast<char>(below(256));
    if (below(8) == 0) s.resize(below(s.size()));
    dir_.write("m.gguf", s);
    ConvertOptions o = options();
    o.model = dir_ / "m.gguf";
    o.overwrite = true;
    o.workers = 1;
    try {
      convert(o);
      ++opened;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace tokamak

// Family configs: both styles of Hugging Face configs, and refusals. Logits are compared elsewhere.
#include "models/family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../formats/gguf_builder.h"
#include "../formats/temp_dir.h"

namespace tokamak {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig read(const std::string& json) {
  const TempDir dir;
  dir.write("config.json", json);
  const HfConfig config = load_hf_config(dir.path());
  return model_config_from_hf(config, family_of_architecture(config.architecture, config.source));
}

std::string error_for(const std::string& json) {
  return error_of([&] { read(json); });
}

constexpr const char* kSizes = R"("vocab_size":64,"hidden_size":32,"intermediate_size":48,
  "num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,
  "max_position_embeddings":128,"rms_norm_eps":1e-5,)";

std::string config(const char* architecture, const std::string& more) {
  return std::string("{\"architectures\":[\"") + architecture + "\"]," + kSizes + more + "}";
}

TEST(Family, Llama3OldAndNewStyleAgree) {
  const std::string scaling =
      R"("factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64)";
  const ModelConfig old =
      read(config("LlamaForCausalLM", R"("torch_dtype":"bfloat16","rope_theta":500000.0,
      "rope_scaling":{"type":"llama3",)" + scaling +
                                          "}"));
  const ModelConfig now = read(config("LlamaForCausalLM", R"("dtype":"bfloat16",
      "rope_parameters":{"rope_theta":500000.0,"rope_type":"llama3",)" +
                                                              scaling + "}"));
  EXPECT_EQ(old.to_json().dump(), now.to_json().dump());
  EXPECT_EQ(old.dtype, DType::bf16);
  EXPECT_EQ(old.rotary_base, 500000.0);
  EXPECT_EQ(old.rotary_scaling.kind, "llama3");
  EXPECT_EQ(old.head_size, 8);
}

TEST(Family, Gemma3OldAndNewStyleAgree) {
  const ModelConfig old = read(config("Gemma3ForCausalLM", R"("sliding_window":16,
      "sliding_window_pattern":2,"rope_theta":1e6,"rope_local_base_freq":20000.0,
      "rope_scaling":{"rope_type":"linear","factor":8.0},"query_pre_attn_scalar":64)"));
  const ModelConfig now = read(config("Gemma3ForCausalLM", R"("sliding_window":16,
      "layer_types":["sliding_attention","full_attention","sliding_attention","full_attention"],
      "rope_parameters":{"full_attention":{"rope_type":"linear","factor":8.0,"rope_theta":1e6},
        "sliding_attention":{"rope_type":"default","rope_theta":20000.0}},
      "query_pre_attn_scalar":64)"));
  EXPECT_EQ(old.to_json().dump(), now.to_json().dump());
  EXPECT_THAT(old.layer_windows, ElementsAre(16, 0, 16, 0));
  EXPECT_EQ(old.rotary_local_base, 20000.0);
  EXPECT_EQ(old.attention_scale, 0.125);
  EXPECT_TRUE(old.tie_word_embeddings);
}

TEST(Family, TextPartOfAMultimodalModel) {
  const ModelConfig c = read(R"({"architectures":["Gemma3ForConditionalGeneration"],
      "torch_dtype":"bfloat16","vision_config":{"hidden_size":9},
      "text_config":{"hidden_size":2560,"intermediate_size":10240,"num_hidden_layers":34,
        "sliding_window":1024,"rope_scaling":{"rope_type":"linear","factor":8.0}}})");
  EXPECT_EQ(c.num_attention_heads, 8);  // the class's defaults
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.vocab_size, 262208);
  EXPECT_EQ(c.dtype, DType::bf16);
  EXPECT_EQ(c.layer_windows[5], 0);
  EXPECT_EQ(c.layer_windows[4], 1024);
  EXPECT_EQ(c.rotary_scaling.factor, 8);
}

TEST(Family, WindowsAndRopeOfTheOthers) {
  EXPECT_EQ(read(config("MistralForCausalLM", "\"x\":1")).sliding_window, 4096);
  EXPECT_EQ(read(config("MistralForCausalLM", R"("sliding_window":null)")).sliding_window, 0);
  EXPECT_TRUE(read(config("Qwen2ForCausalLM", R"("sliding_window":32)")).layer_windows.empty());
  EXPECT_THAT(read(config("Qwen2ForCausalLM",
                          R"("use_sliding_window":true,"sliding_window":32,"max_window_layers":3)"))
                  .layer_windows,
              ElementsAre(0, 0, 0, 32));
  EXPECT_THAT(read(config("SmolLM3ForCausalLM", R"("no_rope_layers":[1,0,1,1])")).no_rope_layers,
              ElementsAre(false, true, false, false));
  const ModelConfig phi = read(config("Phi3ForCausalLM", R"("original_max_position_embeddings":32,
      "rope_scaling":{"type":"su","short_factor":[1,1,1,1],"long_factor":[2,2,2,2]})"));
  EXPECT_EQ(phi.rotary_scaling.kind, "longrope");
  EXPECT_EQ(phi.rotary_scaling.factor, 4);
  EXPECT_EQ(phi.rotary_scaling.original_max_position, 32);
}

TEST(Family, RefusalsAreClear) {
  EXPECT_THAT(error_for(config("LlamaForCausalLn", "\"x\":1")),
              AllOf(HasSubstr("the nearest is 'LlamaForCausalLM'"), HasSubstr("Qwen3ForCausalLM")));
  EXPECT_THAT(
      error_for(config("LlamaForCausalLM", R"("quantization_config":{"quant_method":"awq"})")),
      HasSubstr("quant_method 'awq'"));
  EXPECT_THAT(error_for(config("LlamaForCausalLM", R"("rope_scaling":{"type":"mrope"})")),
              HasSubstr("'mrope' is not supported"));
  EXPECT_THAT(error_for(config("LlamaForCausalLM", R"("hidden_act":"tanhshrink")")),
              HasSubstr("activation 'tanhshrink'"));
  EXPECT_THAT(error_for(config("LlamaForCausalLM", R"("num_attention_heads":0)")),
              HasSubstr("num_attention_heads is 0"));
  EXPECT_THAT(error_for(config("Gemma3ForCausalLM", R"("layer_types":["odd"])")),
              HasSubstr("layer_types holds 'odd'"));
  EXPECT_THAT(error_for("{}"), HasSubstr("architectures"));
}

// Their configs have names of their own, and sizes that follow from others.
TEST(Family, BloomAndMptNamesAreTranslated) {
  const ModelConfig bloom = read(R"({"architectures":["BloomForCausalLM"],"vocab_size":64,
    "n_embed":96,"n_layer":3,"n_head":12,"seq_length":512,"layer_norm_epsilon":1e-6,
    "num_key_value_heads":2})");
  EXPECT_EQ(bloom.num_hidden_layers, 3);
  EXPECT_EQ(bloom.num_key_value_heads, 12);
  EXPECT_EQ(bloom.max_position_embeddings, 512);
  EXPECT_EQ(bloom.norm_epsilon, 1e-6);
  EXPECT_EQ(bloom.position_embedding_type, "alibi");
  EXPECT_EQ(bloom.hidden_act, "gelu_tanh");
  EXPECT_EQ(ModelConfig::from_json(bloom.to_json(), "x").to_json().dump(), bloom.to_json().dump());
  const std::string mpt = R"({"architectures":["MPTForCausalLM"],"d_model":64,"n_heads":4,)";
  const ModelConfig m = read(mpt + R"("n_layers":2,"expansion_ratio":3,
    "attn_config":{"alibi":true,"clip_qkv":null,"softmax_scale":0.25}})");
  EXPECT_EQ(m.intermediate_size, 192);
  EXPECT_EQ(m.attention_scale, 0.25);
  EXPECT_EQ(m.position_embedding_type, "alibi");
  EXPECT_EQ(read(mpt + R"("n_layers":2})").position_embedding_type, "alibi");
  EXPECT_FALSE(m.norm_bias);
  EXPECT_THAT(error_for(mpt + R"("attn_config":{"clip_qkv":6}})"), HasSubstr("clip_qkv"));
  EXPECT_THAT(error_for(mpt + R"("attn_config":{"alibi":false}})"), HasSubstr("alibi is false"));
  EXPECT_THAT(error_for(mpt + R"("d_model":"wide"})"), HasSubstr("hidden_size"));
}

TEST(Family, GgufRopeFactorsBecomeLongrope) {
  const TempDir dir;
  GgufBuilder b;
  b.add("general.architecture", "llama").add("llama.embedding_length", 8u);
  b.add("llama.block_count", 1u).add("llama.attention.head_count", 2u);
  b.add("llama.feed_forward_length", 8u).add("llama.context_length", 64u);
  b.add("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  b.tensor("token_embd.weight", 0, {16, 8}, std::string(512, '\0'));
  const float factors[] = {1, 8};
  b.tensor("rope_freqs.weight", 0, {2},
           std::string(reinterpret_cast<const char*>(factors), sizeof factors));
  const GgufFile file(dir.write("m.gguf", b.str()));
  const ModelConfig c = model_config_from_gguf(file, family_of_gguf("llama", "m.gguf"));
  EXPECT_EQ(c.rotary_scaling.kind, "longrope");
  EXPECT_THAT(c.rotary_scaling.long_factor, ElementsAre(1, 8));
  EXPECT_EQ(c.rotary_scaling.attention_factor, 1);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_THAT(error_of([&] { family_of_gguf("lama", "m.gguf"); }),
              HasSubstr("the nearest is 'llama'"));
}

}  // namespace
}  // namespace tokamak

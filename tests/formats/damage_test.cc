// Thousands of damaged files: each opens or is refused with an Error; nothing else may happen (the
// sanitizer build runs this too). Whatever opens is read to its last byte.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/json.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/gguf_builder.h"
#include "formats/safetensors.h"
#include "formats/temp_dir.h"

#include <nlohmann/json.hpp>

namespace tokamak {
namespace {

// Cuts, flips bits, overwrites 1, 4 or 8 bytes with telling numbers, or repeats a part.
std::string damage(std::string s, std::mt19937& rng) {
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(rng); };
  static constexpr uint64_t kTelling[] = {0,          1,          0x7f,       0xff,
                                          0xffffffff, 0x7fffffff, 0x80000000, UINT64_MAX,
                                          INT64_MAX,  1ull << 63, 1ull << 32, 0x10000};
  for (size_t times = 1 + below(3); times > 0 && !s.empty(); --times) {
    const size_t at = below(2) ? below(s.size()) : below(std::min<size_t>(s.size(), 200));
    switch (below(5)) {
      case 0:
        s.resize(at);
        break;
      case 1:
        s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 2: {
        const size_t widths[] = {1, 4, 8};
        const size_t n = std::min(widths[below(3)], s.size() - at);
        std::memcpy(&s[at], &kTelling[below(std::size(kTelling))], n);
        break;
      }
      case 3:
        s.insert(at, s.substr(below(s.size()), 1 + below(16)));
        break;
      case 4:
        s.erase(at, 1 + below(16));
        break;
    }
  }
  return s;
}

uint64_t read_all(const TensorMap& tensors) {
  uint64_t sum = 0;
  for (const auto& [name, view] : tensors)
    for (size_t i = 0; i < view.bytes(); ++i) sum += static_cast<uint8_t>(view.data[i]);
  return sum;
}

template <typename Open>
void run(const std::string& content, const char* file_name, int count, Open open) {
  const TempDir dir;
  std::mt19937 rng(20250607);
  int opened = 0;
  for (int i = 0; i < count; ++i) {
    const std::string damaged = damage(content, rng);
    const auto path = dir.write(file_name, damaged);
    SCOPED_TRACE(i);
    try {
      open(path);
      ++opened;
    } catch (const Error& e) {
      EXPECT_STRNE(e.what(), "");
    }
  }
  EXPECT_LT(opened, count);
  ::testing::Test::RecordProperty("opened", opened);
}

std::string checkpoint_file() {
  const TempDir dir;
  SafetensorsWriter w(dir / "f", {{"a", DType::f32, {2, 3}}, {"b", DType::u8, {2, 18}}},
                      {{"block:b", "q4_0 2 32"}});
  w.write(0, 0, std::vector<std::byte>(24));
  w.write(1, 0, std::vector<std::byte>(36));
  w.finish();
  return read_text(dir / "f");
}

TEST(Damage, Safetensors) {
  run(checkpoint_file(), "f.safetensors", 6000,
      [](const auto& path) { read_all(SafetensorsFile(path).tensors()); });
}

TEST(Damage, SafetensorsIndex) {
  const TempDir dir;
  std::mt19937 rng(5);
  dir.write("s1.safetensors", checkpoint_file());
  const std::string index =
      R"({"metadata":{"total_size":60},"weight_map":{"a":"s1.safetensors","b":"s1.safetensors"}})";
  for (int i = 0; i < 1500; ++i) {
    dir.write("model.safetensors.index.json", damage(index, rng));
    try {
      read_all(SafetensorsSet(dir.path()).tensors());
    } catch (const Error&) {
    }
  }
}

TEST(Damage, Gguf) {
  GgufBuilder b;
  b.add("general.architecture", "llama").add("general.alignment", 32u).add("x", 0.5f);
  b.add_array<std::string>("tokens", GgufType::string, {"a", "bc", "def"});
  b.add_array<int32_t>("types", GgufType::i32, {1, 2, 3});
  b.tensor("a", 0, {2, 3}, std::string(24, 'a')).tensor("b", 2, {2, 32}, std::string(36, 'b'));
  run(b.str(), "f.gguf", 8000, [](const auto& path) {
    const GgufFile f(path);
    read_all(f.tensors());
    for (const auto& [key, value] : f.metadata())
      for (int kind = 0; kind < 6; ++kind) try {
          if (kind == 0) f.get_string(key);
          if (kind == 1) f.get_int(key);
          if (kind == 2) f.get_float(key);
          if (kind == 3) f.get_strings(key);
          if (kind == 4) f.get_ints(key);
          if (kind == 5) f.get_floats(key);
        } catch (const Error&) {
        }
  });
}

TEST(Damage, Checkpoint) {
  ModelConfig c;
  c.architecture = "LlamaForCausalLM";
  c.model_type = "llama";
  c.vocab_size = c.hidden_size = c.intermediate_size = c.max_position_embeddings = 8;
  c.num_hidden_layers = c.num_attention_heads = c.num_key_value_heads = 2;
  c.head_size = 4;
  c.layer_windows = {4, 0};
  c.rotary_scaling = {.kind = "longrope",
                      .factor = 2,
                      .original_max_position = 4,
                      .short_factor = {1, 2},
                      .long_factor = {3, 4}};
  const std::string config = c.to_json().dump(), weights = checkpoint_file();
  const TempDir dir;
  std::mt19937 rng(99);
  int opened = 0;
  for (int i = 0; i < 6000; ++i) {
    dir.write("config.json", i % 2 ? damage(config, rng) : config);
    dir.write("rank0.safetensors", i % 2 ? weights : damage(weights, rng));
    try {
      const Checkpoint k = Checkpoint::open(dir.path());
      for (const std::string& name : k.names()) EXPECT_GE(k.tensor(name).bytes(), 0u);
      ++opened;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace tokamak

// A LoRA adapter of random matrices for the tiny model, as PEFT would write it.
#pragma once
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "formats/safetensors.h"

namespace tokamak::testing {

inline std::filesystem::path write_tiny_adapter(const std::filesystem::path& folder, uint32_t seed,
                                                int64_t rank = 4) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "adapter_config.json")
      << R"({"peft_type": "LORA", "r": )" << rank
      << R"(, "lora_alpha": 8, "bias": "none", "target_modules": ["q_proj"]})";
  const std::tuple<const char*, int64_t, int64_t> linears[] = {
      {"self_attn.q_proj", 64, 64}, {"self_attn.k_proj", 64, 32}, {"self_attn.v_proj", 64, 32},
      {"self_attn.o_proj", 64, 64}, {"mlp.gate_proj", 64, 96},    {"mlp.up_proj", 64, 96},
      {"mlp.down_proj", 96, 64}};
  std::vector<SafetensorsWriter::Declared> declared;
  for (int layer = 0; layer < 3; ++layer)
    for (const auto& [name, in, out] : linears) {
      const std::string stem =
          fmt::format("base_model.model.model.layers.{}.{}.lora_", layer, name);
      declared.push_back({stem + "A.weight", DType::f32, {rank, in}});
      declared.push_back({stem + "B.weight", DType::f32, {out, rank}});
    }
  SafetensorsWriter writer(folder / "adapter_model.safetensors", declared);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.3f);
  for (size_t i = 0; i < declared.size(); ++i) {
    std::vector<float> values(writer.tensor_bytes(i) / 4);
    for (float& v : values) v = normal(random);
    writer.write(i, 0, std::as_bytes(std::span(values)));
  }
  writer.finish();
  return folder;
}

}  // namespace tokamak::testing

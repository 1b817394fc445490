// A model family as data: the names that models carry, how their config becomes a ModelConfig, and
// what their weights are called. One file per family; registry.cc lists them.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "formats/hf_config.h"
#include "models/weight_rules.h"

namespace tokamak {

// The metadata of a GGUF model with its architecture's prefix: int_or("rope.dimension_count", 64).
class GgufModel {
 public:
  explicit GgufModel(const GgufFile& file);
  const GgufFile& file() const { return file_; }
  const std::string& arch() const { return arch_; }
  std::string key(const std::string& field) const { return arch_ + "." + field; }
  int64_t get_int(const std::string& field) const { return file_.get_int(key(field)); }
  double get_float(const std::string& field) const { return file_.get_float(key(field)); }
  int64_t int_or(const std::string& field, int64_t other) const;
  double float_or(const std::string& field, double other) const;
  std::string string_or(const std::string& field, const std::string& other) const;
  // A float32 vector tensor as numbers; empty when the file has none of that name.
  std::vector<double> vector(const std::string& tensor) const;

 private:
  const GgufFile& file_;
  std::string arch_;
};

struct Family {
  std::string key;                              // ModelConfig::model_type
  std::vector<std::string> architectures;       // Hugging Face class names
  std::vector<std::string> gguf_architectures;  // general.architecture; may be empty
  const char* hf_defaults;                      // JSON: what transformers assumes for absent fields
  WeightNames hf_names, gguf_names;
  // Gives fields the names that the shared reader knows. May be null.
  void (*prepare_hf)(Json& text) = nullptr;
  // What the shared readers cannot know. May be null.
  void (*from_hf)(const JsonFields& fields, ModelConfig& config) = nullptr;
  void (*from_gguf)(const GgufModel& model, ModelConfig& config) = nullptr;
};

std::span<const Family> families();
// Throws Error listing the known architectures and the nearest one.
const Family& family_of_architecture(const std::string& architecture, const std::string& source);
const Family& family_of_gguf(const std::string& architecture, const std::string& source);

// The whole way: shared fields, the family's own, validation.
ModelConfig model_config_from_hf(HfConfig config, const Family& family);
ModelConfig model_config_from_gguf(const GgufFile& file, const Family& family);

// layer_types of transformers ("sliding_attention" | "full_attention") → one window per layer.
std::vector<int64_t> windows_of_layer_types(const JsonFields& fields, const ModelConfig& config);

// Qwen's windows: layer_types, else use_sliding_window from layer max_window_layers on.
void read_qwen_windows(const JsonFields& fields, ModelConfig& config);
// Gemma 2 and 3: norms that hold weight - 1, before and after attention and MLP.
void use_sandwich_norm_names(WeightNames& hf_names);

// A field's other name, where the common one is absent.
void rename_field(Json& text, const char* from, const char* to);

// One function per family file.
Family llama_family();
Family smollm3_family();
Family mistral_family();
Family qwen2_family();
Family qwen3_family();
Family internlm2_family();
Family phi3_family();
Family gemma_family();
Family gemma2_family();
Family gemma3_family();
Family granite_family();
Family bloom_family();
Family mpt_family();

}  // namespace tokamak

#include "convert/model_source.h"

#include "base/error.h"

namespace tokamak {
namespace {

namespace fs = std::filesystem;

ModelSource open_gguf(const fs::path& path) {
  ModelSource s;
  s.name = path.string();
  s.gguf = std::make_shared<GgufFile>(path);
  s.family = &family_of_gguf(s.gguf->get_string("general.architecture"), s.name);
  s.names = &s.family->gguf_names;
  s.config = model_config_from_gguf(*s.gguf, *s.family);
  return s;
}

ModelSource open_hf(const fs::path& directory) {
  ModelSource s;
  s.name = directory.string();
  s.directory = directory;
  const HfConfig config = load_hf_config(directory);
  s.family = &family_of_architecture(config.architecture, config.source);
  s.names = &s.family->hf_names;
  s.config = model_config_from_hf(config, *s.family);
  if (!SafetensorsSet::present(directory) && fs::exists(directory / "pytorch_model.bin"))
    fail(
        "'{}' holds pytorch_model.bin, which can run code when opened and is not read; save the "
        "model as safetensors (model.save_pretrained(DIR, safe_serialization=True))",
        s.name);
  s.safetensors = std::make_shared<SafetensorsSet>(directory);
  const TensorMap& tensors = s.tensors();
  if (!config.dtype && !tensors.empty()) {  // config.json is silent: what most bytes are in
    const TensorView* largest = &tensors.begin()->second;
    for (const auto& [name, view] : tensors)
      if (view.bytes() > largest->bytes()) largest = &view;
    if (largest->dtype == DType::f16 || largest->dtype == DType::bf16)
      s.config.dtype = largest->dtype;
  }
  return s;
}

// The one model file among a directory's GGUF files (later parts of a split one do not count).
fs::path only_gguf(const fs::path& directory) {
  fs::path found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".gguf" || name.starts_with("mmproj")) continue;
    if (name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos)
      continue;
    if (!found.empty())
      fail("'{}' holds several GGUF files ('{}', '{}'); name one", directory.string(),
           found.filename().string(), name);
    found = entry.path();
  }
  return found;
}

}  // namespace

ModelSource open_model_source(const fs::path& path) {
  if (!fs::exists(path)) fail("model '{}' does not exist", path.string());
  if (!fs::is_directory(path)) return open_gguf(path);
  if (fs::exists(path / "config.json")) return open_hf(path);
  const fs::path gguf = only_gguf(path);
  if (gguf.empty())
    fail("'{}' is no model: it has neither config.json nor a .gguf file", path.string());
  return open_gguf(gguf);
}

}  // namespace tokamak

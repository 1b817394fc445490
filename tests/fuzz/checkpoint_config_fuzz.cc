// JSON configs: the checkpoint's own and Hugging Face's, which become a ModelConfig or an Error.
// What is accepted survives a round trip.
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/model_config.h"
#include "models/family.h"

namespace {

using namespace tokamak;

const std::filesystem::path& directory() {
  static const std::filesystem::path path = [] {
    const auto p =
        std::filesystem::temp_directory_path() / ("config_fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(p);
    return p;
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const ModelConfig c = ModelConfig::from_json(parse_json(text, "fuzz"), "fuzz");
    const std::string once = c.to_json().dump();
    TOKAMAK_ASSERT(ModelConfig::from_json(parse_json(once, "again"), "again").to_json().dump() ==
                   once);
  } catch (const Error&) {
  }
  try {
    std::ofstream(directory() / "config.json", std::ios::binary) << text;
    const HfConfig hf = load_hf_config(directory());
    model_config_from_hf(hf, family_of_architecture(hf.architecture, "fuzz"));
  } catch (const Error&) {
  }
  return 0;
}

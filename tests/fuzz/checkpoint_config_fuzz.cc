// JSON configs: the checkpoint's own and Hugging Face's, which become a ModelConfig or an Error.
// What is accepted survives a round trip.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/model_config.h"
#include "models/family.h"
#include "scratch_directory.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const ModelConfig c = ModelConfig::from_json(parse_json(text, "fuzz"), "fuzz");
    const std::string once = c.to_json().dump();
    TOKAMAK_ASSERT(ModelConfig::from_json(parse_json(once, "again"), "again").to_json().dump() ==
                   once);
  } catch (const Error&) {
  }
  try {
    const HfConfig hf = load_hf_config(scratch_directory("config.json", data, size));
    model_config_from_hf(hf, family_of_architecture(hf.architecture, "fuzz"));
  } catch (const Error&) {
  }
  return 0;
}

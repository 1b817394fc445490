#include "models/family.h"

namespace tokamak {

std::vector<int64_t> windows_of_layer_types(const JsonFields& fields, const ModelConfig& config) {
  std::vector<int64_t> out;
  for (const std::string& type : fields.strings("layer_types")) {
    if (type != "sliding_attention" && type != "full_attention")
      fail("'{}': layer_types holds '{}'; known: full_attention, sliding_attention",
           fields.source(), type);
    out.push_back(type == "sliding_attention" ? config.sliding_window : 0);
  }
  return out;
}

ModelConfig model_config_from_hf(HfConfig config, const Family& family) {
  apply_defaults(config, family.hf_defaults);
  ModelConfig c = read_common_config(config);
  c.model_type = family.key;
  if (family.from_hf) family.from_hf(config.fields(), c);
  c.validate(config.source);
  return c;
}

}  // namespace tokamak

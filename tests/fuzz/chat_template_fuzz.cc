// Any bytes as a chat template, over a small conversation, under tight limits.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto variables = tokamak::OrderedJson::parse(R"({"messages":[
    {"role":"system","content":"s"},{"role":"user","content":"Héllo <b>\n"},
    {"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":{"a":[1,2.5,true]}}}]},
    {"role":"tool","content":[{"type":"text","text":"x"}]}],
    "tools":[{"function":{"name":"f","parameters":{"type":"object"}}}],"add_generation_prompt":true,
    "bos_token":"<s>","eos_token":"</s>","n":7,"f":-2.5,"l":[3,1,2]})");
  try {
    const tokamak::TemplateLimits limits{.max_steps = 20'000,
                                         .max_output_bytes = 1 << 16,
                                         .max_memory_bytes = 1 << 22,
                                         .max_depth = 50};
    const tokamak::ChatTemplate t(std::string(reinterpret_cast<const char*>(data), size), limits);
    t.render(variables);
  } catch (const tokamak::Error&) {
  }
  return 0;
}

// The plan inside an engine, behind its checksum: any JSON is accepted as a sound plan or refused.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/memory_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  try {
    const Plan plan =
        Plan::from_json(parse_json({reinterpret_cast<const char*>(data), size}, "fuzz input"));
    plan_memory(plan, 64, 4);
    Plan::from_json(plan.to_json());
  } catch (const Error&) {
  }
  return 0;
}

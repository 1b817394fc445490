// An engine file: opens or throws Error; then its weights are readable and its memory can be
// planned.
#include "base/error.h"
#include "engine/engine_file.h"
#include "engine/memory_plan.h"
#include "scratch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  const ScratchFile file(data, size);
  try {
    const EngineFile engine = EngineFile::open(file.path());
    unsigned sum = 0;
    for (size_t i = 0; i < engine.plan().weights.size(); ++i)
      if (const auto bytes = engine.weight(i); !bytes.empty())
        sum += static_cast<unsigned>(bytes.front()) + static_cast<unsigned>(bytes.back());
    plan_memory(engine.plan(), 64, 4);
    return sum == 0xffffffffu;
  } catch (const Error&) {
  }
  return 0;
}

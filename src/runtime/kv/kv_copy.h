// A KV block's content that must be copied before a step.
#pragma once
#include <cstdint>

namespace tokamak {

struct KvCopy {
  enum Kind : uint8_t { within, to_host, from_host };  // the device's blocks, or the host's
  Kind kind = within;
  int32_t from = -1, to = -1;
};

}  // namespace tokamak

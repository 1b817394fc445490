// Runs the decoders of a spec: tokens → text. Thread-safe.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer_spec.h"

namespace tokamak {

class Decoders {
 public:
  Decoders(const std::vector<DecoderSpec>& specs, const std::string& source);
  std::string run(std::vector<std::string> tokens) const;

 private:
  std::vector<std::function<void(std::vector<std::string>&)>> steps_;
};

}  // namespace tokamak

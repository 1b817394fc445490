// Runs the normalizers of a spec. Thread-safe.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "text/text_pieces.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class Normalizers {
 public:
  Normalizers(const std::vector<NormalizerSpec>& specs, const std::string& source);
  void run(NormalText& text) const {
    const size_t limit = max_growth(text.text.size());
    for (const auto& step : steps_) {
      step(text);
      check_growth(text.text.size(), limit);
    }
  }
  bool empty() const { return steps_.empty(); }

 private:
  std::vector<std::function<void(NormalText&)>> steps_;
};

}  // namespace tokamak

// Runs the pre-tokenizers of a spec: cuts a text into pieces. Thread-safe.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "text/text_pieces.h"
#include "text/tokenizer_spec.h"

namespace tokamak {

class PreTokenizers {
 public:
  // raw_bytes: a ByteLevel step leaves the bytes as they are, the model works on bytes.
  PreTokenizers(const std::vector<PreTokenizerSpec>& specs, bool raw_bytes,
                const std::string& source);
  // On entry one span, or none when the text is empty.
  void run(TextPieces& pieces) const {
    const size_t limit = max_growth(pieces.text.size());
    for (const auto& step : steps_) {
      step(pieces);
      check_growth(pieces.text.size(), limit);
    }
  }

 private:
  std::vector<std::function<void(TextPieces&)>> steps_;
};

}  // namespace tokamak

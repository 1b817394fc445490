// Tokenizers of every kind of decoder, small and real, as guides see them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "guide/guide.h"
#include "text/tokenizer.h"

namespace tokamak::testing {

struct Vocabulary {
  std::string name;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const GuideVocabulary> guide;
};

// Byte-level, byte fallback (with each way to drop a first space), SentencePiece's own; behind
// them, where TOKAMAK_TEST_TOKENIZERS names tokenizers (separated by ':'), those.
const std::vector<Vocabulary>& vocabularies();

}  // namespace tokamak::testing

// SentencePiece's tokenizer.model: a protobuf ModelProto.
#pragma once
#include <string>
#include <string_view>

#include "text/sp_vocabulary.h"

namespace tokamak {

// The vocabulary as the file has it. BOS is added where the vocabulary has a BOS piece, otherwise
// EOS is (T5). Throws Error naming `source` and the field.
SpVocabulary parse_sentencepiece(std::string_view bytes, const std::string& source);

}  // namespace tokamak

// A SentencePiece vocabulary with its rules, as tokenizer.model and GGUF both carry it, and the
// tokenizer that follows from it.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer_spec.h"

namespace tokamak {

struct SpVocabulary {
  enum class Kind { kBpe, kUnigram };
  Kind kind = Kind::kBpe;
  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<PieceType> types;
  bool byte_fallback = false;

  std::string charsmap, denormalizer_charsmap;
  bool add_dummy_prefix = true;
  bool prefix_after_special = true;  // text behind a special token gets the dummy prefix too
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  std::string unk_surface = " \xE2\x81\x87 ";  // U+2047

  std::optional<int32_t> bos, eos, unk, pad;
  bool add_bos = true, add_eos = false;
};

// Control pieces become special tokens that are recognised in the text (parse_special).
// Throws Error naming `source` when the parts do not fit together.
TokenizerSpec make_spec(SpVocabulary vocabulary, const std::string& source);

}  // namespace tokamak

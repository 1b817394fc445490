// The vocabulary of a GGUF file (tokenizer.ggml.*) as plain data, and the tokenizer that follows.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer_spec.h"

namespace tokamak {

class GgufFile;

struct GgufVocab {
  std::string source;      // for messages: the file's name
  std::string model, pre;  // tokenizer.ggml.model and .pre
  std::string model_name;  // general.name: some models' tokens strip the space behind them
  std::vector<std::string> tokens;
  std::vector<float> scores;        // empty: all 0
  std::vector<PieceType> types;     // empty: all normal
  std::vector<std::string> merges;  // "left right", best first
  std::string charsmap;
  std::optional<int64_t> bos, eos, unk, sep, pad, cls, mask;
  std::optional<bool> add_bos, add_eos, add_sep, add_space_prefix, remove_extra_whitespaces;
  std::optional<bool> lowercase, strip_accents;
};

GgufVocab read_gguf_vocab(const GgufFile& file);

// model: llama (SentencePiece BPE), gpt2 | gemma4 | whitespace (BPE by merges), bert (WordPiece),
// t5 (SentencePiece unigram). Any other is an Error that lists these.
TokenizerSpec make_spec(GgufVocab vocab);

}  // namespace tokamak

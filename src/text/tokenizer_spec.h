// What a tokenizer is, as plain data: the readers (tokenizer.json, tokenizer.model, GGUF) fill it,
// the engine runs it. A "Sequence" of a file is flattened into the vectors here: the steps run in
// order. Semantics of every kind are those of the Hugging Face library of the same name; kinds
// marked SP are those of the SentencePiece library.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tokamak {

// A literal string, or a regular expression in Oniguruma's Ruby syntax as these files use it.
struct TextPattern {
  std::string text;
  bool regex = false;
};

enum class PrependScheme { kAlways, kFirst, kNever };  // kFirst: only where the whole input begins

// ---- Normalizers: text → text -------------------------------------------------------------------
struct NfcNormalizer {};
struct NfdNormalizer {};
struct NfkcNormalizer {};
struct NfkdNormalizer {};
struct LowercaseNormalizer {};
struct StripNormalizer {
  bool left = true, right = true;
};
struct StripAccentsNormalizer {};
struct PrependNormalizer {
  std::string prefix;
};
struct ReplaceNormalizer {
  TextPattern pattern;
  std::string content;
};
struct BertNormalizer {
  bool clean_text = true, handle_chinese_chars = true;
  std::optional<bool> strip_accents;  // not given: as lowercase
  bool lowercase = true;
};
struct PrecompiledNormalizer {  // grapheme-wise, as HF runs a SentencePiece charsmap
  std::string charsmap;         // the binary blob (not base64)
};
struct NmtNormalizer {};
struct ByteLevelNormalizer {};
// SP: charsmap by longest prefix match, whitespace rules and dummy prefix, in one pass.
struct SentencePieceNormalizer {
  std::string charsmap;  // may be empty: identity
  PrependScheme dummy_prefix = PrependScheme::kAlways;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;  // ' ' → U+2581
  bool whitespace_as_suffix = false;
  std::vector<std::string> user_defined;  // pieces that normalization leaves as they are
};
using NormalizerSpec =
    std::variant<NfcNormalizer, NfdNormalizer, NfkcNormalizer, NfkdNormalizer, LowercaseNormalizer,
                 StripNormalizer, StripAccentsNormalizer, PrependNormalizer, ReplaceNormalizer,
                 BertNormalizer, PrecompiledNormalizer, NmtNormalizer, ByteLevelNormalizer,
                 SentencePieceNormalizer>;

// ---- Pre-tokenizers: text → pieces of text ------------------------------------------------------
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
struct ByteLevelPreTokenizer {
  bool add_prefix_space = true;
  bool use_regex = true;  // GPT-2's pattern
};
struct SplitPreTokenizer {
  TextPattern pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
};
struct WhitespacePreTokenizer {};  // \w+|[^\w\s]+
struct WhitespaceSplitPreTokenizer {};
struct BertPreTokenizer {};
struct MetaspacePreTokenizer {
  std::string replacement = "\xE2\x96\x81";  // one character
  PrependScheme prepend = PrependScheme::kAlways;
  bool split = true;
};
struct PunctuationPreTokenizer {
  SplitBehavior behavior = SplitBehavior::kIsolated;
};
struct DigitsPreTokenizer {
  bool individual = false;
};
struct UnicodeScriptsPreTokenizer {};
struct CharDelimiterPreTokenizer {
  char32_t delimiter = U' ';
};
struct FixedLengthPreTokenizer {
  uint32_t length = 5;  // characters
};
using PreTokenizerSpec =
    std::variant<ByteLevelPreTokenizer, SplitPreTokenizer, WhitespacePreTokenizer,
                 WhitespaceSplitPreTokenizer, BertPreTokenizer, MetaspacePreTokenizer,
                 PunctuationPreTokenizer, DigitsPreTokenizer, UnicodeScriptsPreTokenizer,
                 CharDelimiterPreTokenizer, FixedLengthPreTokenizer>;

// ---- Models: a piece of text → ids --------------------------------------------------------------
// pieces[id] is the token; an empty string is an id without a token.
struct BpeMerge {
  int32_t left = 0, right = 0, result = 0;  // token ids
};
struct BpeModel {
  std::vector<std::string> pieces;
  std::vector<BpeMerge> merges;  // best (rank 0) first; of equal pairs the last one counts
  std::optional<int32_t> unk;
  bool fuse_unk = false;
  bool byte_fallback = false;  // needs pieces "<0x00>" … "<0xFF>"
  bool ignore_merges = false;  // a piece that is a token is taken whole
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
};
enum class PieceType : uint8_t { kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };
// SP BPE: any two neighbours whose concatenation is a piece may merge; the highest score goes
// first, the leftmost of equals. User-defined pieces are matched first and never merged, control
// and unknown pieces are never produced, unused ones are split again. Runs of unknown give one unk.
struct SpBpeModel {
  std::vector<std::string> pieces;
  std::vector<float> scores;
  std::vector<PieceType> types;  // empty: all normal
  std::optional<int32_t> unk;
  bool byte_fallback = false;
  bool fuse_unk = true;
};
struct WordPieceModel {
  std::vector<std::string> pieces;
  int32_t unk = 0;  // -1: none, a word that needs it is an Error
  std::string continuing_subword_prefix = "##";
  uint32_t max_input_chars_per_word = 100;
};
struct UnigramModel {
  std::vector<std::string> pieces;
  std::vector<double> scores;
  std::vector<PieceType> types;  // empty: all normal, as HF treats them; otherwise as SP
  std::optional<int32_t> unk;
  bool byte_fallback = false;
};
struct WordLevelModel {
  std::vector<std::string> pieces;
  std::optional<int32_t> unk;
};
using ModelSpec = std::variant<BpeModel, SpBpeModel, WordPieceModel, UnigramModel, WordLevelModel>;

// ---- Decoders: tokens → text --------------------------------------------------------------------
struct ByteLevelDecoder {};
struct ByteFallbackDecoder {};
struct FuseDecoder {};
struct MetaspaceDecoder {
  std::string replacement = "\xE2\x96\x81";
  PrependScheme prepend = PrependScheme::kAlways;
};
struct WordPieceDecoder {
  std::string prefix = "##";
  bool cleanup = true;
};
struct BpeDecoder {
  std::string suffix = "</w>";
};
struct StripDecoder {
  char32_t content = U' ';
  uint32_t start = 0, stop = 0;
};
struct ReplaceDecoder {
  TextPattern pattern;
  std::string content;
};
struct CtcDecoder {
  std::string pad_token = "<pad>", word_delimiter_token = "|";
  bool cleanup = true;
};
// SP: the whole way from pieces to text; one string comes out (text/sp_decoder.h).
struct SentencePieceDecoder {
  bool strip_dummy_prefix = true;  // the text's first U+2581
  bool strip_all_leading = false;  // … and all that follow it at once (remove_extra_whitespaces)
  bool byte_fallback = false;      // "<0xNN>" is a byte; each byte that is not UTF-8 gives U+FFFD
  std::string unk_piece, unk_surface;
  std::string denormalizer_charsmap;  // may be empty
};
using DecoderSpec = std::variant<ByteLevelDecoder, ByteFallbackDecoder, FuseDecoder,
                                 MetaspaceDecoder, WordPieceDecoder, BpeDecoder, StripDecoder,
                                 ReplaceDecoder, CtcDecoder, SentencePieceDecoder>;

// ---- Post-processors: ids → ids with BOS/EOS/CLS … (Bert and Roberta kinds become templates)
// -----
struct TemplateItem {
  bool sequence = false;     // the text's ids, or …
  std::vector<int32_t> ids;  // … these special tokens
};
struct TemplatePostProcessor {
  std::vector<TemplateItem> items;
};

// A token that is looked for in the text before the model runs.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;             // not inside a word
  bool lstrip = false, rstrip = false;  // takes the white space before / after it along
  bool normalized = true;               // looked for after the normalizers ran, else before
  bool special = false;
};

struct TokenizerSpec {
  std::string source;  // for messages: the file's name
  std::vector<NormalizerSpec> normalizers;
  std::vector<PreTokenizerSpec> pre_tokenizers;
  ModelSpec model;
  std::vector<TemplatePostProcessor> post_processors;
  // No decoder at all: the tokens are joined with a space, as HF does.
  std::vector<DecoderSpec> decoders;
  std::vector<AddedToken> added_tokens;
  std::optional<int32_t> bos, eos, unk, pad;  // unk not given: the model's
};

}  // namespace tokamak

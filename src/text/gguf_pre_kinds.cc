#include "text/gguf_pre_kinds.h"

#include <algorithm>

#include "base/error.h"

namespace tokamak {
namespace {

// Parts of the patterns.
#define CONTRACTION R"~((?i:'s|'t|'re|'ve|'m|'ll|'d))~"
#define WORD R"~([^\r\n\p{L}\p{N}]?\p{L}+)~"
#define SYMBOLS R"~( ?[^\s\p{L}\p{N}]+[\r\n]*)~"
#define SPACES R"~(\s*[\r\n]+|\s+(?!\S)|\s+)~"
#define UPPER R"~([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])~"
#define LOWER R"~([\p{Ll}\p{Lm}\p{Lo}\p{M}])~"
#define LEAD R"~([^\r\n\p{L}\p{N}]?)~"
#define SYMBOLS_SLASH R"~( ?[^\s\p{L}\p{N}]+[\r\n/]*)~"

constexpr std::string_view kGpt2 = kGgufGpt2Split;
constexpr std::string_view kDigit = kGgufDigitSplit;
constexpr std::string_view kDigits = R"~(\p{N}+)~";
constexpr std::string_view kDigitsBy3 = R"~(\p{N}{1,3})~";
constexpr std::string_view kThreeAsciiDigits = "[0-9][0-9][0-9]";
constexpr std::string_view kLineBreak = R"~([\r\n])~";
constexpr std::string_view kLines = R"~([^\n]+|[\n]+)~";
constexpr std::string_view kLlama3 = CONTRACTION "|" WORD R"~(|\p{N}{1,3}|)~" SYMBOLS "|" SPACES;
constexpr std::string_view kQwen2 = CONTRACTION "|" WORD R"~(|\p{N}|)~" SYMBOLS "|" SPACES;
constexpr std::string_view kQwen35 = CONTRACTION
    R"~(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)~" SPACES;
constexpr std::string_view kNoContractions = WORD R"~(|\p{N}|)~" SYMBOLS "|" SPACES;
constexpr std::string_view kMiniCpm5 = CONTRACTION "|" WORD R"~(|\p{N}+|)~" SYMBOLS "|" SPACES;
constexpr std::string_view kJais2 = CONTRACTION
    "|" WORD R"~(|\p{N}{1,3}|)~" SYMBOLS
    R"~(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S))~"
    R"~(|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})~";
constexpr std::string_view kSeedCoder =
    CONTRACTION "|" WORD R"~(|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)~" SPACES;
constexpr std::string_view kBailing =
    R"~('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*)~"
    R"~(|\s*[\r\n]|\s+(?!\S)|\s+)~";
constexpr std::string_view kExaoneMoe =
    CONTRACTION R"~(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N})~"
                R"~(| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)~";
constexpr std::string_view kTekken =
    LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER R"~(*|\p{N}|)~" SYMBOLS_SLASH "|" SPACES;
constexpr std::string_view kGpt4o =
    LEAD UPPER "*" LOWER "+" CONTRACTION "?|" LEAD UPPER "+" LOWER "*" CONTRACTION
               R"~(?|\p{N}{1,3}|)~" SYMBOLS_SLASH "|" SPACES;
constexpr std::string_view kYoutu =
    LEAD UPPER "*" LOWER "+" CONTRACTION "?|" LEAD UPPER "+" LOWER "*" CONTRACTION
               R"~(?|\p{N}|)~" SYMBOLS_SLASH "|" SPACES;
// As gpt-4o, with runs of Han characters on their own.
#define NOT_HAN R"~((?!\p{Han}))~"
constexpr std::string_view kKimi =
    R"~(\p{Han}+|)~" LEAD "(?:" NOT_HAN UPPER ")*(?:" NOT_HAN LOWER ")+" CONTRACTION "?|" LEAD
    "(?:" NOT_HAN UPPER ")+(?:" NOT_HAN LOWER ")*" CONTRACTION R"~(?|\p{N}{1,3}|)~" SYMBOLS
    "|" SPACES;
constexpr std::string_view kBloom = " ?[^(\\s|.,!?…。，、।۔،)]+";
constexpr std::string_view kFalconPunctuation = R"~([\p{P}\$\+<=>\^~\|`]+)~";
constexpr std::string_view kDefaultPunctuation = R"~([\p{P}\$\+<=>\^~\|]+)~";
constexpr std::string_view kCjk = "[一-龥ࠀ-一가-퟿]+";
constexpr std::string_view kCjkKana = "[一-龥぀-ゟ゠-ヿ]+";
#define DEEPSEEK3_WORDS                                                                       \
  R"~([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)~" \
  R"~(| ?[\p{P}\p{S}]+)~"
constexpr std::string_view kDeepSeek3 = DEEPSEEK3_WORDS R"~([\r\n]*|)~" SPACES;
constexpr std::string_view kSpark = DEEPSEEK3_WORDS R"~(|[\r\n]|\s+(?!\S)|\s+)~";
// The formatter breaks these lines anew each time.
// clang-format off
constexpr std::string_view kDeepSeekLetters =
    "\\s?"
    "[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-"
    "ჅᎠ-"
    "Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-"
    "ῄῆ-"
    "ῌῐ-"
    "ΐῖ-"
    "Ίῠ"
    "-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-"
    "ꚛꜢ-"
    "ꝯꝱ-"
    "ꞇꞋ"
    "-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-"
    "𑣟𞤀-"
    "𞥃]"
    "+";
// clang-format on
constexpr std::string_view kDeepSeekPunctuation = "\\s?[!-/:-~！-／：-～‘-‟　-。]+";
constexpr std::string_view kAfmoeScripts =
    "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-"
    "꧿가-"
    "힯ᄀ-"
    "ᇿ]"
    "+";
constexpr std::string_view kYoutuScripts =
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-"
    "ゟ゠-"
    "ヿ]"
    "+";
// Groups of three digits counted from the end of a run of digits.
constexpr std::string_view kDigitsFromEnd = R"~(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))~";

#undef CONTRACTION
#undef WORD
#undef SYMBOLS
#undef SPACES
#undef UPPER
#undef LOWER
#undef LEAD
#undef SYMBOLS_SLASH
#undef NOT_HAN
#undef DEEPSEEK3_WORDS

std::vector<GgufPreKind> make_kinds() {
  return {
      {{"default"}, {kDefaultPunctuation, kGpt2, kDigits, kThreeAsciiDigits}},
      {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
        "jina-v5-nano"},
       {kLlama3},
       true,
       true},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {kLlama3}},
      {{"glm4", "glm5"}, {kLlama3}, true},
      {{"jais-2"}, {kJais2}},
      {{"deepseek-llm"},
       {kLineBreak, kDeepSeekLetters, kDeepSeekPunctuation, R"~(\s+$)~", kCjk, kDigits}},
      {{"deepseek-coder"}, {kLineBreak, R"~(\s?\p{L}+)~", R"~(\s?\p{P}+)~", kCjk, kDigit}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, {kDigitsBy3, kCjkKana, kDeepSeek3}},
      {{"spark2_5"}, {kDigitsBy3, kCjkKana, kSpark, kDigit}},
      {{"youtu"}, {kYoutuScripts, kYoutu}, true},
      {{"falcon"}, {kFalconPunctuation, kGpt2, kThreeAsciiDigits}},
      {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
        "mellum2"},
       {kDigit, kGpt2}},
      {{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0",
        "mellum", "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "mpt", "olmo", "jais",
        "trillion", "granite-docling", "exaone4"},
       {kGpt2}},
      {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez", "hunyuan",
        "solar-open", "grok-2"},
       {kQwen2}},
      {{"qwen35"}, {kQwen35}},
      {{"ufakzeka"}, {kNoContractions}},
      {{"laguna"}, {kLines, kQwen2}},
      {{"minicpm5"}, {kDigitsBy3, kMiniCpm5}, true},
      {{"poro-chat", "bloom", "gpt3-finnish"}, {kBloom}},
      {{"viking"}, {kBloom, kDigit}},
      {{"tekken"}, {kTekken}, true, true},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {kGpt4o}},
      {{"granite-embed-multi-97m"}, {kGpt4o}, true},
      {{"tiny_aya", "cohere2moe"}, {R"~(\d{1,3}(?=(?:\d{3})*\b))~", kGpt4o}},
      {{"chameleon"},
       {"<sentinel:[0-9]+>", "(?:IMGIMG)(?:A|B|C|D|E|F|G|H|I){1,4}Z", "[\\t\\n]|    |  ", kDigit,
        R"~([\p{P}!-/:-@\[-`{-~])~", kGpt2},
       false,
       true},
      {{"kimi-k2"}, {kKimi}},
      {{"superbpe"}, {kDigits, R"~((?=(?:\d{3})+(?!\d)))~"}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"}, {kBailing}},
      {{"seed-coder"}, {kSeedCoder}},
      {{"afmoe"}, {kDigitsFromEnd, kAfmoeScripts, kDeepSeek3}},
      {{"exaone-moe"}, {kExaoneMoe}},
      {{"gemma4", "granite-embed-multi-311m"}, {kLines}, true, true, true},
      {{"sarvam-moe"}, {kLines}, false, false, true},
      {{"whitespace"}, {}, false, false, true, true},
  };
}

}  // namespace

std::span<const GgufPreKind> gguf_pre_kinds() {
  static const std::vector<GgufPreKind> kKinds = make_kinds();
  return kKinds;
}

const GgufPreKind& gguf_pre_kind(std::string_view name, const std::string& source) {
  if (name.empty()) name = "default";
  std::vector<std::string_view> known;
  for (const GgufPreKind& kind : gguf_pre_kinds()) {
    if (std::find(kind.names.begin(), kind.names.end(), name) != kind.names.end()) return kind;
    known.insert(known.end(), kind.names.begin(), kind.names.end());
  }
  std::sort(known.begin(), known.end());
  std::string list;
  for (const std::string_view k : known) list.append(list.empty() ? "" : ", ").append(k);
  fail("{}: tokenizer.ggml.pre is '{}', expected one of: {}", source, name, list);
}

}  // namespace tokamak

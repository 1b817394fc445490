// Any bytes as a tokenizer.json: an Error, or a tokenizer whose encode and decode end (with an
// Error at worst) and whose ids lie in the vocabulary.
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  constexpr std::string_view kText =
      "Hello  wörld e\u0301 <s>\n\t漢字 👍🏽 123 a_b's\u1E9B\u0323 \uFEFFx\xFF\xE4\xB8 ab "
      "abab";
  try {
    const Tokenizer tokenizer(
        parse_tokenizer_json({reinterpret_cast<const char*>(data), size}, "fuzz"));
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(kText, {.add_special = special, .parse_special = special});
      tokenizer.decode(ids, special);
    }
    std::vector<int32_t> ids;
    for (int32_t id = -1; id < 40; ++id) ids.push_back(id);
    tokenizer.decode(ids);
    if (tokenizer.vocab_size() > 0) tokenizer.piece(tokenizer.vocab_size() - 1);
  } catch (const Error&) {
  }
  return 0;
}

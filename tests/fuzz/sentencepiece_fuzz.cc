// A tokenizer.model of any bytes: an Error, or a tokenizer that encodes and decodes, and whose
// stream equals its decoding.
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "text/detokenizer.h"
#include "text/sentencepiece_reader.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer(make_spec(parse_sentencepiece(bytes, "fuzz"), "fuzz"));
    const std::string_view tail = bytes.substr(size - size / 4);
    for (const std::string_view text : {std::string_view("a bc  <s>é😀\n"), tail}) {
      const auto ids = tokenizer.encode(text);
      const std::string whole = tokenizer.decode(ids, true);
      Detokenizer stream(tokenizer, true);
      std::string parts;
      for (const int32_t id : ids) parts += stream.push(id);
      if (parts + stream.finish() != whole) std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}

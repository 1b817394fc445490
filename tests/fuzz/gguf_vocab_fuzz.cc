// A GGUF file's vocabulary: an Error, or a tokenizer whose encode and decode end and whose stream
// equals its decoding.
#include <cstdlib>

#include "base/error.h"
#include "scratch_file.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tokamak;
  const ScratchFile file(data, size);
  try {
    const Tokenizer tokenizer(read_gguf_tokenizer(file.path()));
    for (const std::string_view text : {"a bc  <s>é😀\n12 it's", "\xff\xe4\xb8 Hello ab"}) {
      const auto ids = tokenizer.encode(text);
      Detokenizer stream(tokenizer, true);
      std::string parts;
      for (const int32_t id : ids) parts += stream.push(id);
      if (parts + stream.finish() != tokenizer.decode(ids, true)) std::abort();
    }
  } catch (const Error&) {
  }
  return 0;
}

#include "formats/gguf_writer.h"

#include <vector>

#include "formats/atomic_output.h"

namespace tokamak {

void write_gguf_vocabulary(const GgufFile& source, const std::filesystem::path& path) {
  std::vector<const GgufValue*> kept;
  for (const auto& [key, value] : source.metadata())
    if (key == "general.architecture" || key == "general.name" || key.starts_with("tokenizer."))
      kept.push_back(&value);
  AtomicFile out(path);
  out.append("GGUF");
  const uint32_t version = 3;
  const uint64_t counts[] = {0, kept.size()};  // tensors, values
  out.append(std::as_bytes(std::span(&version, 1)));
  out.append(std::as_bytes(std::span(counts)));
  for (const GgufValue* value : kept) out.append(value->raw);
  out.commit();
}

}  // namespace tokamak

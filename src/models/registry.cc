#include <algorithm>

#include "base/error.h"
#include "models/family.h"

namespace tokamak {
namespace {

const std::vector<Family>& registry() {
  static const std::vector<Family> list = {
      llama_family(),     smollm3_family(), mistral_family(), qwen2_family(),  qwen3_family(),
      internlm2_family(), phi3_family(),    gemma_family(),   gemma2_family(), gemma3_family(),
      granite_family(),   bloom_family(),   mpt_family(),
  };
  return list;
}

// Levenshtein distance, letters compared without case.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = std::tolower(static_cast<unsigned char>(a[i - 1])) ==
                        std::tolower(static_cast<unsigned char>(b[j - 1]));
      const size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (same ? 0 : 1)});
      diagonal = std::exchange(row[j], next);
    }
  }
  return row.back();
}

using Names = std::vector<std::string> Family::*;

const Family& find(const std::string& name, Names names, const char* what,
                   const std::string& source) {
  std::string known, nearest;
  size_t best = SIZE_MAX;
  const std::string_view shown = std::string_view(name).substr(0, 100);
  for (const Family& f : registry())
    for (const std::string& candidate : f.*names) {
      if (candidate == name) return f;
      known += (known.empty() ? "" : ", ") + candidate;
      if (const size_t d = distance(shown, candidate); d < best) best = d, nearest = candidate;
    }
  fail("'{}': {} '{}' is not supported; the nearest is '{}'; known: {}", source, what, shown,
       nearest, known);
}

}  // namespace

std::span<const Family> families() { return registry(); }

const Family& family_of_architecture(const std::string& architecture, const std::string& source) {
  return find(architecture, &Family::architectures, "architecture", source);
}

const Family& family_of_gguf(const std::string& architecture, const std::string& source) {
  return find(architecture, &Family::gguf_architectures, "general.architecture", source);
}

}  // namespace tokamak

#include "base/json.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"

namespace tokamak {
namespace {

// Writing JSON back is recursive, so nesting is limited before it can exhaust the stack.
constexpr int kMaxDepth = 256;

void check_depth(std::string_view text, const std::string& source) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) fail("'{}' nests JSON more than {} deep", source, kMaxDepth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

template <typename J>
J parse(std::string_view text, const std::string& source) {
  check_depth(text, source);
  try {
    return J::parse(text);
  } catch (const Json::exception& e) {
    fail("'{}' is not valid JSON: {}", source, e.what());
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source) {
  return parse<Json>(text, source);
}

OrderedJson parse_ordered_json(std::string_view text, const std::string& source) {
  return parse<OrderedJson>(text, source);
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || !std::filesystem::is_regular_file(path)) fail("cannot read '{}'", path.string());
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

Json load_json(const std::filesystem::path& path) {
  return parse_json(read_text(path), path.string());
}

}  // namespace tokamak

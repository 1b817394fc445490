#include "base/json.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"

namespace tokamak {

Json parse_json(std::string_view text, const std::string& source) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    fail("'{}' is not valid JSON: {}", source, e.what());
  }
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

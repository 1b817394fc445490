// JSON helpers over nlohmann::json: errors name the file and the field. Include json.hpp only in
// source files that need it; it is heavy.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace tokamak {

using Json = nlohmann::json;                 // keys sorted: output is reproducible
using OrderedJson = nlohmann::ordered_json;  // keys as written: for chat templates

// Throws Error with the source's name, line and column when the text is not JSON.
Json parse_json(std::string_view text, const std::string& source);
OrderedJson parse_ordered_json(std::string_view text, const std::string& source);
Json load_json(const std::filesystem::path& path);
std::string read_text(const std::filesystem::path& path);

}  // namespace tokamak

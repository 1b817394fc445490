#include "cli/prompts.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "formats/npy.h"

namespace tokamak::cli {
namespace {

Prompt from_json_line(const std::string& line, const std::string& where) {
  const Json json = parse_json(line, where);
  if (json.is_string()) return {json.get<std::string>(), {}};
  for (const char* key : {"text", "prompt", "input_text"})
    if (json.is_object() && json.contains(key) && json[key].is_string())
      return {json[key].get<std::string>(), {}};
  if (json.is_object() && json.contains("input_ids") && json["input_ids"].is_array()) {
    Prompt p;
    for (const Json& id : json["input_ids"]) {
      if (!id.is_number_integer())
        fail("{}: input_ids holds '{}', expected integers", where, id.dump());
      p.tokens.push_back(id.get<int32_t>());
    }
    return p;
  }
  fail("{}: expected an object with \"text\", \"prompt\" or \"input_ids\"", where);
}

Prompt from_csv_line(const std::string& line, const std::string& where) {
  Prompt p;
  std::istringstream cells(line);
  for (std::string cell; std::getline(cells, cell, ',');) {
    const size_t begin = cell.find_first_not_of(" \t\r");
    const size_t end = cell.find_last_not_of(" \t\r");
    int32_t id = 0;
    const char* first = cell.data() + (begin == std::string::npos ? 0 : begin);
    const char* last = cell.data() + (begin == std::string::npos ? 0 : end + 1);
    const auto [stop, error] = std::from_chars(first, last, id);
    if (error != std::errc() || stop != last) fail("{}: '{}' is not a token id", where, cell);
    p.tokens.push_back(id);
  }
  return p;
}

std::vector<Prompt> from_npy(const std::filesystem::path& file) {
  const NpyInts ids = read_npy_ints(file);
  if (ids.shape.rank() < 1 || ids.shape.rank() > 2)
    fail("'{}': expected [length] or [prompts, length], found {}", file.string(), ids.shape.str());
  const int64_t length = ids.shape.back();
  std::vector<Prompt> prompts(length == 0 ? 0 : ids.values.size() / length);
  for (size_t i = 0; i < ids.values.size(); ++i)
    if (ids.values[i] >= 0)
      prompts[i / length].tokens.push_back(static_cast<int32_t>(ids.values[i]));
  return prompts;
}

}  // namespace

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  const std::string kind = file.extension().string();
  std::vector<Prompt> prompts;
  if (kind == ".npy") {
    prompts = from_npy(file);
  } else if (kind == ".txt" || kind == ".jsonl" || kind == ".csv") {
    std::istringstream lines(read_text(file));
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
      const std::string where = file.string() + ":" + std::to_string(++number);
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.empty()) continue;
      prompts.push_back(kind == ".txt"     ? Prompt{line, {}}
                        : kind == ".jsonl" ? from_json_line(line, where)
                                           : from_csv_line(line, where));
    }
  } else {
    fail("'{}': a file of prompts must end in .txt, .jsonl, .csv or .npy", file.string());
  }
  if (prompts.empty()) fail("'{}' holds no prompt", file.string());
  return prompts;
}

}  // namespace tokamak::cli

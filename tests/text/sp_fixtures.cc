#include "text/sp_fixtures.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "text/tokenizer.h"

namespace tokamak::test {
namespace {

using Ids = std::vector<int32_t>;

void expect(bool equal, const std::string& message, FixtureResult& result) {
  if (equal) return;
  if (result.mismatches++ == 0) result.first = message;
}

}  // namespace

FixtureResult compare_with_fixture(const std::filesystem::path& folder, const std::string& name) {
  const Tokenizer tokenizer = Tokenizer::load(folder / (name + ".model"));
  std::ifstream rows(folder / (name + ".jsonl"));
  FixtureResult result;
  for (std::string line; std::getline(rows, line);) {
    const Json row = parse_json(line, name);
    const auto decoded = row.at("d").get<std::string>();
    const Ids ids = row.at(row.contains("t") ? "i" : "r").get<Ids>();
    if (row.contains("t")) {
      ++result.texts;
      const auto text = row.at("t").get<std::string>();
      // SentencePiece neither adds special tokens nor finds control pieces in the text.
      const Ids mine = tokenizer.encode(text, {.add_special = false, .parse_special = false});
      expect(mine == ids, fmt::format("'{}': {} expected {}", line, mine, ids), result);
    }
    ++result.decodes;
    const std::string mine = tokenizer.decode(ids, true);
    expect(mine == decoded, fmt::format("{}: '{}' expected '{}'", ids, mine, decoded), result);
  }
  return result;
}

}  // namespace tokamak::test

// Runs fixtures of tools/make_sentencepiece_fixtures.py: NAME.model and NAME.jsonl in a folder.
#pragma once
#include <filesystem>
#include <string>

namespace tokamak::test {

struct FixtureResult {
  size_t texts = 0, decodes = 0, mismatches = 0;
  std::string first;  // the first mismatch, for people
};
FixtureResult compare_with_fixture(const std::filesystem::path& folder, const std::string& name);

}  // namespace tokamak::test

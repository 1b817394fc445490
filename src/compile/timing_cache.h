// Measured times of tactics, so that nothing is timed twice: device → signature → token bucket →
// tactic → best microseconds. A JSON file; identical content gives identical bytes.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace tokamak {

using TacticTimes = std::map<std::string, double>;  // tactic → best µs

class TimingCache {
 public:
  // An empty cache; load() merges a file into it. A damaged file is a warning and is ignored.
  void load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;  // atomically

  const TacticTimes* find(const std::string& device, const std::string& signature,
                          int32_t bucket) const;
  void put(const std::string& device, const std::string& signature, int32_t bucket,
           TacticTimes times);
  size_t entries() const;

 private:
  std::map<std::string, std::map<std::string, std::map<int32_t, TacticTimes>>> devices_;
};

}  // namespace tokamak

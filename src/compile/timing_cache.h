// Measured times of tactics, so that nothing is timed twice: device → signature → token bucket →
// tactic → best microseconds, and the noise of the measurement. A JSON file; identical content
// gives identical bytes.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace tokamak {

using TacticTimes = std::map<std::string, double>;  // tactic → best µs

struct BucketTimes {
  TacticTimes us;
  double noise = 0;  // the part by which a time may be too high by chance
  bool operator==(const BucketTimes&) const = default;
};

class TimingCache {
 public:
  // An empty cache; load() merges a file into it. A damaged file is a warning and is ignored.
  void load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;  // atomically

  const BucketTimes* find(const std::string& device, const std::string& signature,
                          int32_t bucket) const;
  void put(const std::string& device, const std::string& signature, int32_t bucket,
           BucketTimes times);
  size_t entries() const;

 private:
  std::map<std::string, std::map<std::string, std::map<int32_t, BucketTimes>>> devices_;
};

}  // namespace tokamak

// Finds stop strings in streamed text. What may be the beginning of a stop string is held back, so
// that no part of one is ever returned.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tokamak {

class StopStrings {
 public:
  // Empty stop strings are an Error.
  explicit StopStrings(std::vector<std::string> stops);

  struct Part {
    std::string text;               // certain text before any stop string
    std::optional<size_t> stopped;  // the index of the stop string that was found
  };
  // Takes the next text. After a match nothing may be pushed any more. The match is the one that
  // begins first; of those that begin at the same place, the first that is complete.
  Part push(std::string_view text);
  // The stream ended: what was held back, up to a stop string in it.
  Part finish();

  bool empty() const { return stops_.empty(); }

 private:
  Part scan(bool ended);

  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace tokamak

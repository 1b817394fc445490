#include "text/stop_strings.h"

#include "base/error.h"

namespace tokamak {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (size_t i = 0; i < stops_.size(); ++i)
    if (stops_[i].empty()) fail("stop string {} is empty", i);
}

StopStrings::Part StopStrings::push(std::string_view text) {
  held_ += text;
  return scan(false);
}

StopStrings::Part StopStrings::finish() { return scan(true); }

StopStrings::Part StopStrings::scan(bool ended) {
  Part part;
  size_t certain = 0;  // bytes that begin no stop string
  for (; certain < held_.size(); ++certain) {
    const std::string_view rest = std::string_view(held_).substr(certain);
    bool begins = false;
    for (size_t i = 0; i < stops_.size() && !part.stopped; ++i) {
      if (rest.starts_with(stops_[i])) part.stopped = i;
      begins = begins || (!ended && std::string_view(stops_[i]).starts_with(rest));
    }
    if (part.stopped || begins) break;
  }
  part.text = held_.substr(0, certain);
  part.stopped ? held_.clear() : void(held_.erase(0, certain));
  return part;
}

}  // namespace tokamak

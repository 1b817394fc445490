#include "api/text_stream.h"

#include <algorithm>

namespace tokamak {

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops,
                       bool skip_special)
    : detokenizer_(tokenizer, skip_special), stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& s) { return s.empty(); });
}

std::string TextStream::push(int32_t token) { return release(detokenizer_.push(token), false); }

std::string TextStream::finish() { return release(detokenizer_.finish(), true); }

std::string TextStream::release(std::string fresh, bool last) {
  if (stopped_) return {};
  held_ += fresh;
  size_t cut = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at >= cut) continue;
    cut = at;
    stop_string_ = stop;
  }
  if (cut != std::string::npos) stopped_ = true;

  size_t keep = 0;  // the longest end that begins a stop string
  if (!stopped_ && !last)
    for (const std::string& stop : stops_)
      for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
        if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
  std::string out = held_.substr(0, stopped_ ? cut : held_.size() - keep);
  held_.erase(0, out.size());
  text_ += out;
  return out;
}

}  // namespace tokamak

// The text of one output as it grows: what has become certain, cut before the first stop string.
#pragma once
#include <string>
#include <vector>

#include "text/detokenizer.h"

namespace tokamak {

class TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops, bool skip_special = true);
  // Text that cannot be taken back any more; may be empty.
  std::string push(int32_t token);
  std::string finish();
  bool stopped() const { return stopped_; }  // a stop string was seen: nothing follows
  const std::string& stop_string() const { return stop_string_; }  // which; empty: none yet
  const std::string& text() const { return text_; }                // all that was returned

 private:
  std::string release(std::string fresh, bool last);
  Detokenizer detokenizer_;
  std::vector<std::string> stops_;
  std::string held_;  // may become a stop string
  std::string text_, stop_string_;
  bool stopped_ = false;
};

}  // namespace tokamak

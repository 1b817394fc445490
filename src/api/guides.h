// Guides for one model: its vocabulary is read once, and the latest guides are kept.
#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "guide/guide.h"
#include "text/tokenizer.h"
#include "tokamak/guide.h"

namespace tokamak {

class Guides {
 public:
  // Error: the model has no tokenizer, or one whose tokens have no text of their own; what the
  // grammar's parser finds. Any thread.
  std::shared_ptr<const Guide> make(const GuideSpec& spec, const Tokenizer* tokenizer,
                                    int64_t vocab_size);

 private:
  using Entry = std::pair<std::string, std::shared_ptr<const Guide>>;
  std::shared_ptr<const GuideVocabulary> vocabulary(const Tokenizer* tokenizer, int64_t vocab_size);

  std::mutex mutex_, vocabulary_mutex_;
  std::shared_ptr<const GuideVocabulary> vocabulary_;
  std::list<Entry> latest_;  // the last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> known_;
};

}  // namespace tokamak

#include "api/guides.h"

#include "base/error.h"
#include "guide/spec.h"
#include "text/token_bytes.h"

namespace tokamak {
namespace {

constexpr size_t kKept = 16;

// Equal specs, equal texts.
std::string key_of(const GuideSpec& s) {
  std::string key = fmt::format("{} {} {}", static_cast<int>(s.kind), s.compact, s.max_calls);
  const auto put = [&](const std::string& text) {
    key += fmt::format(" {}:{}", text.size(), text);
  };
  put(s.text);
  for (const std::string& c : s.choices) put(c);
  for (const GuideSpec::Call& c : s.calls) put(c.begin), put(c.arguments), put(c.end);
  put(s.begin), put(s.separator), put(s.end);
  return key;
}

}  // namespace

std::shared_ptr<const GuideVocabulary> Guides::vocabulary(const Tokenizer* tokenizer,
                                                          int64_t vocab_size) {
  const std::lock_guard lock(vocabulary_mutex_);
  if (vocabulary_) return vocabulary_;
  if (!tokenizer) fail("guided decoding needs a tokenizer: the model has none");
  TokenBytes bytes = token_bytes(*tokenizer);
  const auto size = static_cast<size_t>(vocab_size);
  bytes.inside.resize(size);
  if (!bytes.first.empty()) bytes.first.resize(size);
  vocabulary_ =
      std::make_shared<const GuideVocabulary>(std::move(bytes.inside), std::move(bytes.first));
  return vocabulary_;
}

std::shared_ptr<const Guide> Guides::make(const GuideSpec& spec, const Tokenizer* tokenizer,
                                          int64_t vocab_size) {
  const std::string key = key_of(spec);
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = known_.find(key); it != known_.end()) {
      latest_.splice(latest_.begin(), latest_, it->second);
      return it->second->second;
    }
  }
  auto guide =
      std::make_shared<const Guide>(guide::rules_of(spec), vocabulary(tokenizer, vocab_size));
  const std::lock_guard lock(mutex_);
  if (const auto it = known_.find(key); it != known_.end()) return it->second->second;
  latest_.emplace_front(key, guide);
  known_[key] = latest_.begin();
  if (latest_.size() > kKept) {
    known_.erase(latest_.back().first);
    latest_.pop_back();
  }
  return guide;
}

}  // namespace tokamak

#include "runtime/logit_processors.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace tokamak {

namespace {
constexpr float kMinusInf = -std::numeric_limits<float>::infinity();
}

LogitProcessors::LogitProcessors(const SamplingParams& params, int64_t vocab_size,
                                 std::span<const int32_t> prompt)
    : params_(params), prompt_size_(static_cast<int64_t>(prompt.size())) {
  check_ids(vocab_size, prompt);
  tokens_.reserve(prompt.size() + static_cast<size_t>(std::min<int64_t>(params.max_tokens, 4096)));
  for (int32_t token : prompt) note(token, false);
}

void LogitProcessors::check_ids(int64_t vocab_size, std::span<const int32_t> prompt) const {
  const auto check = [&](int32_t id, const char* field) {
    if (id < 0 || id >= vocab_size)
      fail("{} names token {}: the vocabulary has ids 0 to {}", field, id, vocab_size - 1);
  };
  for (int32_t id : prompt) check(id, "the prompt");
  for (const auto& [id, bias] : params_.logit_bias) check(id, "logit_bias");
  for (const auto& word : params_.bad_words)
    for (int32_t id : word) check(id, "bad_words");
  for (int32_t id : params_.stop_token_ids) check(id, "stop_token_ids");
}

void LogitProcessors::append(int32_t token) { note(token, true); }

void LogitProcessors::note(int32_t token, bool output) {
  tokens_.push_back(token);
  const auto [it, added] = seen_at_.emplace(token, seen_.size());
  if (added) seen_.push_back({token, 0});
  seen_[it->second].in_output += output;
  if (params_.no_repeat_ngram_size > 0) index_ngram();
}

uint64_t LogitProcessors::hash_of(size_t start, size_t count) const {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = start; i < start + count; ++i) {
    h ^= static_cast<uint32_t>(tokens_[i]);
    h *= 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  return h;
}

// The n-gram that the newest token ends.
void LogitProcessors::index_ngram() {
  const auto n = static_cast<size_t>(params_.no_repeat_ngram_size);
  if (tokens_.size() < n) return;
  const size_t last = tokens_.size() - 1;
  ngrams_[hash_of(last + 1 - n, n - 1)].push_back(last);
}

bool LogitProcessors::active() const {
  return !params_.logit_bias.empty() || params_.repetition_penalty != 1 ||
         params_.presence_penalty != 0 || params_.frequency_penalty != 0 ||
         params_.no_repeat_ngram_size > 0 || !params_.bad_words.empty() ||
         output_size() < params_.min_tokens;
}

void LogitProcessors::process(std::span<float> logits) const {
  for (const auto& [id, bias] : params_.logit_bias)
    logits[static_cast<size_t>(id)] += static_cast<float>(bias);
  penalize(logits);
  if (params_.no_repeat_ngram_size > 0) ban_repeated_ngrams(logits);
  ban_words(logits);
  if (output_size() < params_.min_tokens)
    for (int32_t id : params_.stop_token_ids) logits[static_cast<size_t>(id)] = kMinusInf;
}

void LogitProcessors::penalize(std::span<float> logits) const {
  const auto repetition = static_cast<float>(params_.repetition_penalty);
  const auto presence = static_cast<float>(params_.presence_penalty);
  const auto frequency = static_cast<float>(params_.frequency_penalty);
  if (repetition == 1 && presence == 0 && frequency == 0) return;
  for (const Seen& s : seen_) {
    float& logit = logits[static_cast<size_t>(s.id)];
    logit = logit < 0 ? logit * repetition : logit / repetition;
    if (s.in_output > 0) logit -= frequency * static_cast<float>(s.in_output) + presence;
  }
}

void LogitProcessors::ban_repeated_ngrams(std::span<float> logits) const {
  const auto prefix = static_cast<size_t>(params_.no_repeat_ngram_size) - 1;
  if (tokens_.size() < prefix) return;
  const size_t start = tokens_.size() - prefix;
  const auto it = ngrams_.find(hash_of(start, prefix));
  if (it == ngrams_.end()) return;
  const auto tail = tokens_.begin() + static_cast<std::ptrdiff_t>(start);
  for (size_t next : it->second)
    if (std::equal(tail, tokens_.end(),
                   tokens_.begin() + static_cast<std::ptrdiff_t>(next - prefix)))
      logits[static_cast<size_t>(tokens_[next])] = kMinusInf;
}

// A sequence's last token is banned where its other tokens have just been written.
void LogitProcessors::ban_words(std::span<float> logits) const {
  for (const auto& word : params_.bad_words) {
    const size_t prefix = word.size() - 1;
    if (tokens_.size() < prefix) continue;
    if (std::equal(word.begin(), word.end() - 1,
                   tokens_.end() - static_cast<std::ptrdiff_t>(prefix)))
      logits[static_cast<size_t>(word.back())] = kMinusInf;
  }
}

}  // namespace tokamak

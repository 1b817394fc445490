#include "runtime/executor/sampled_choice.h"

#include <algorithm>

namespace tokamak {

SampledChoice::SampledChoice(const ExecutorRequest& request, int64_t vocab_size)
    : params_(request.params), wants_logits_(request.return_generation_logits) {
  SamplingParams p = params_;
  if (chooses_best()) p.logprobs = std::max(p.logprobs, 0);
  for (int64_t i = 0; i < params_.width(); ++i) {
    Sampler sampler(p, vocab_size, request.tokens);
    std::optional<RowSampling> row = sampler.on_device();
    if (wants_logits_ || (row && needs_history(*row))) row.reset();
    samples_.push_back({static_cast<int32_t>(i), std::move(sampler), row});
    if (p.seed) ++*p.seed;
  }
}

Chosen SampledChoice::next(const LogitRows& logits) {
  Chosen chosen;
  ++made_;
  std::vector<Sample> before = std::exchange(samples_, {});
  for (size_t i = 0; i < before.size(); ++i) {
    const auto row = one_sequence_ ? 0 : static_cast<int32_t>(i);
    OutputNews news;
    news.token = before[i].sampler.next(logits.row(row));
    if (params_.logprobs >= 0) news.logprobs = before[i].sampler.logprobs();
    if (chooses_best()) before[i].logprob += before[i].sampler.logprobs()->token;
    if (wants_logits_)
      news.logits = std::make_shared<const std::vector<float>>(logits.row(row).begin(),
                                                               logits.row(row).end());
    append(before[i], std::move(news), row, chosen);
  }
  one_sequence_ = false;
  if (chooses_best() && samples_.empty()) give_best(chosen);
  return chosen;
}

std::vector<DeviceRow> SampledChoice::on_device() const {
  std::vector<DeviceRow> rows;
  if (one_sequence_ && samples_.size() > 1) return rows;
  for (const Sample& s : samples_) {
    if (!s.on_device) return {};
    rows.push_back({*s.on_device, made_});
  }
  return rows;
}

Chosen SampledChoice::take(std::span<const int32_t> tokens) {
  Chosen chosen;
  std::vector<Sample> before = std::exchange(samples_, {});
  for (size_t i = 0; i < before.size(); ++i) check_choice(tokens[i], made_);
  ++made_;
  for (size_t i = 0; i < before.size(); ++i) {
    before[i].sampler.take(tokens[i]);
    OutputNews news;
    news.token = tokens[i];
    append(before[i], std::move(news), static_cast<int32_t>(i), chosen);
  }
  one_sequence_ = false;
  return chosen;
}

// The news of a sample's next token; the sample goes on, or has ended.
void SampledChoice::append(Sample& s, OutputNews news, int32_t sequence, Chosen& chosen) {
  const int32_t token = *news.token;
  news.output = s.output;
  if (!params_.ignore_eos && std::ranges::count(params_.stop_token_ids, token) > 0)
    news.finish_reason = "stop";
  else if (made_ >= params_.max_tokens)
    news.finish_reason = "length";
  const bool said_all = news.finish_reason != "stop" && s.sampler.complete();
  if (said_all) news.finish_reason.clear();
  const bool goes_on = news.finish_reason.empty() && !said_all;
  std::vector<OutputNews>& told = chooses_best() ? s.held : chosen.news;
  told.push_back(std::move(news));
  if (said_all)  // the token is part of the output
    told.push_back({.output = s.output, .finish_reason = "stop"});
  if (goes_on) {
    chosen.next.push_back({sequence, token});
    samples_.push_back(std::move(s));
  } else if (chooses_best()) {
    s.logprob /= made_;
    ended_.push_back(std::move(s));
  }
}

void SampledChoice::give_best(Chosen& chosen) {
  std::ranges::stable_sort(ended_, std::greater<>(), &Sample::logprob);
  for (size_t i = 0; i < std::min(ended_.size(), static_cast<size_t>(params_.n)); ++i) {
    for (OutputNews& news : ended_[i].held) {
      news.output = static_cast<int32_t>(i);
      news.score = ended_[i].logprob;
      chosen.news.push_back(std::move(news));
    }
  }
}

std::vector<int32_t> SampledChoice::drop(int32_t output) {
  std::vector<int32_t> kept;
  std::vector<Sample> before = std::exchange(samples_, {});
  for (size_t i = 0; i < before.size(); ++i) {
    if (!chooses_best() && before[i].output == output) continue;
    kept.push_back(static_cast<int32_t>(i));
    samples_.push_back(std::move(before[i]));
  }
  if (one_sequence_ && !kept.empty()) kept = {0};
  return kept;
}

}  // namespace tokamak

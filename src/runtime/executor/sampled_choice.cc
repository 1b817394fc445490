#include "runtime/executor/sampled_choice.h"

#include <algorithm>

namespace tokamak {

SampledChoice::SampledChoice(const SamplingParams& params, int64_t vocab_size,
                             std::span<const int32_t> prompt)
    : params_(params), sampler_(params, vocab_size, prompt), on_device_(sampler_.on_device()) {
  if (on_device_ && needs_history(*on_device_)) on_device_.reset();
}

Chosen SampledChoice::next(const LogitRows& logits) {
  const int32_t token = sampler_.next(logits.row(0));
  return append(token, sampler_.logprobs());
}

std::vector<DeviceRow> SampledChoice::on_device() const {
  if (!on_device_) return {};
  return {{*on_device_, made_}};
}

Chosen SampledChoice::take(std::span<const int32_t> tokens) {
  check_choice(tokens[0], made_);
  sampler_.take(tokens[0]);
  return append(tokens[0], {});
}

Chosen SampledChoice::append(int32_t token, std::optional<TokenLogprobs> logprobs) {
  ++made_;
  OutputNews news{token, std::move(logprobs)};
  if (!params_.ignore_eos && std::ranges::count(params_.stop_token_ids, token) > 0)
    news.finish_reason = "stop";
  else if (made_ >= params_.max_tokens)
    news.finish_reason = "length";
  Chosen chosen;
  const bool goes_on = news.finish_reason.empty();
  const bool said_all = news.finish_reason != "stop" && sampler_.complete();
  if (said_all) news.finish_reason.clear();
  if (goes_on && !said_all) chosen.next.push_back({0, token});
  chosen.news.push_back(std::move(news));
  if (said_all)
    chosen.news.push_back({.finish_reason = "stop"});  // the token is part of the output
  return chosen;
}

}  // namespace tokamak

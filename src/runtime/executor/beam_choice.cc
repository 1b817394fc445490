#include "runtime/executor/beam_choice.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "runtime/logit_kernels.h"
#include "runtime/sampler.h"

namespace tokamak {

BeamChoice::BeamChoice(const ExecutorRequest& request, int64_t vocab_size)
    : params_(request.params),
      wants_logits_(request.return_generation_logits),
      width_(static_cast<size_t>(params_.beam_width)),
      keep_(width_ *
            std::max<size_t>(2, 1 + (params_.ignore_eos ? 0 : params_.stop_token_ids.size()))) {
  if (params_.guide)
    fail("beam_width is {}: beam search knows no guide, it must be 1", params_.beam_width);
  LogitProcessors processors(params_, vocab_size, request.tokens);
  beams_.emplace_back();
  if (processors.active()) beams_[0].processors = std::move(processors);
}

bool BeamChoice::ends_at(int32_t token) const {
  return !params_.ignore_eos && std::ranges::count(params_.stop_token_ids, token) > 0;
}

// Processors see log-probabilities, as in Hugging Face's beam search.
void BeamChoice::add_candidates(int32_t beam, std::span<const float> logits,
                                std::vector<Candidate>& to) {
  const RowMax max = row_max(logits);
  if (max.has_nan || !std::isfinite(max.value))
    fail("the model produced NaN or infinite logits for output token {}", made_);
  scores_.resize(logits.size());
  const double log_sum = std::log(exp_row(logits, max.value, scores_)) + max.value;
  for (size_t i = 0; i < logits.size(); ++i) scores_[i] = static_cast<float>(logits[i] - log_sum);
  const Beam& b = beams_[static_cast<size_t>(beam)];
  if (b.processors) b.processors->process(scores_);
  for (const int32_t token : likeliest(scores_, keep_)) {
    const float score = scores_[static_cast<size_t>(token)];
    if (std::isfinite(score)) to.push_back({b.score + score, beam, token});
  }
}

BeamChoice::Beam BeamChoice::extended(const Candidate& c, std::span<const float> logits) const {
  Beam beam = beams_[static_cast<size_t>(c.parent)];
  beam.score = c.score;
  if (beam.processors) beam.processors->append(c.token);
  Token& t = beam.tokens.emplace_back(Token{c.token, {}, {}});
  if (params_.logprobs >= 0) t.logprobs = logprobs_of(logits, c.token, params_.logprobs);
  if (wants_logits_)
    t.logits = std::make_shared<const std::vector<float>>(logits.begin(), logits.end());
  return beam;
}

double BeamChoice::normalized(double score, int64_t length) const {
  return score / std::pow(static_cast<double>(length), params_.length_penalty);
}

void BeamChoice::note_ended(Beam beam) {
  beam.score = normalized(beam.score, made_);
  const auto at = std::ranges::upper_bound(ended_, beam.score, std::greater<>(), &Beam::score);
  ended_.insert(at, std::move(beam));
  if (ended_.size() > width_) ended_.pop_back();
}

bool BeamChoice::is_over() const {
  if (beams_.empty()) return true;
  if (ended_.size() < width_) return false;
  if (params_.early_stopping == 1) return true;
  const bool never = params_.early_stopping != 0;
  const int64_t length = never && params_.length_penalty > 0 ? params_.max_tokens : made_;
  return normalized(beams_[0].score, length) <= ended_.back().score;
}

Chosen BeamChoice::next(const LogitRows& logits) {
  std::vector<Candidate> candidates;
  for (size_t b = 0; b < beams_.size(); ++b)
    add_candidates(static_cast<int32_t>(b), logits.row(static_cast<int64_t>(b)), candidates);
  if (candidates.empty())
    fail(
        "no token is left to choose: check bad_words, logit_bias, min_tokens and "
        "no_repeat_ngram_size");
  std::ranges::stable_sort(candidates, std::greater<>(), &Candidate::score);
  candidates.resize(std::min(candidates.size(), keep_));
  ++made_;
  Chosen chosen;
  std::vector<Beam> now;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    const bool ends = made_ >= params_.max_tokens || ends_at(c.token);
    if (ends ? i >= width_ : now.size() == width_) continue;
    Beam beam = extended(c, logits.row(c.parent));
    if (ends) {
      note_ended(std::move(beam));
    } else {
      now.push_back(std::move(beam));
      chosen.next.push_back({c.parent, c.token});
    }
  }
  beams_ = std::move(now);
  if (is_over()) {
    chosen.next.clear();
    give(chosen);
  }
  return chosen;
}

void BeamChoice::give(Chosen& chosen) {
  for (size_t i = 0; i < std::min(ended_.size(), static_cast<size_t>(params_.n)); ++i) {
    Beam& beam = ended_[i];
    for (Token& t : beam.tokens) {
      OutputNews news;
      news.output = static_cast<int32_t>(i);
      news.token = t.id;
      news.logprobs = std::move(t.logprobs);
      news.logits = std::move(t.logits);
      chosen.news.push_back(std::move(news));
    }
    chosen.news.back().score = beam.score;
    chosen.news.back().finish_reason = ends_at(beam.tokens.back().id) ? "stop" : "length";
  }
}

// Beams are no outputs before the end.
std::vector<int32_t> BeamChoice::drop(int32_t) {
  std::vector<int32_t> all;
  for (size_t b = 0; b < beams_.size(); ++b) all.push_back(static_cast<int32_t>(b));
  return all;
}

}  // namespace tokamak

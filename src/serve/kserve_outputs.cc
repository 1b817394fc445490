#include "serve/kserve_outputs.h"

#include <algorithm>

#include "serve/api_error.h"
#include "serve/kserve_tensors.h"

namespace tokamak::serve {
namespace {

constexpr const char *kText = "text_output", *kSums = "cum_log_probs",
                     *kLogprobs = "output_log_probs";

std::string raw_floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

KServeOutputs::KServeOutputs(KServeRequest& request, const std::vector<std::string>& wanted)
    : wanted_(wanted) {
  for (const std::string& name : wanted_) {
    if (name != kText && name != kSums && name != kLogprobs)
      throw ApiError(400,
                     fmt::format("outputs: '{}' is none; known are {}, {} and {}", name, kText,
                                 kSums, kLogprobs),
                     "outputs", "invalid_value");
    request.logprobs |= name != kText;
  }
  if (wanted_.empty()) wanted_ = {kText};
  if (wanted.empty() && request.logprobs) wanted_ = {kText, kSums, kLogprobs};
  GenerationRequest& g = request.generation;
  if (request.logprobs) g.params.logprobs = 0;
  const auto n = static_cast<size_t>(g.n);
  running_ = g.prompts.size() * n;
  texts_.resize(running_);
  for (size_t i = 0; i < running_ && !request.begin.empty(); ++i) texts_[i] = request.begin[i / n];
  sums_.resize(running_);
  logprobs_.resize(running_);
}

void KServeOutputs::take(Piece&& p) {
  texts_[p.choice] += p.text;
  for (const OutputToken& t : p.tokens) {
    if (!t.logprobs) continue;
    sums_[p.choice] += t.logprobs->token;
    logprobs_[p.choice].push_back(t.logprobs->token);
  }
  running_ -= !p.finish_reason.empty();
}

bool KServeOutputs::any() const {
  const auto some = [](const auto& all) {
    return std::ranges::any_of(all, [](const auto& one) { return !one.empty(); });
  };
  return some(texts_) || some(logprobs_);
}

void KServeOutputs::clear() {
  for (std::string& t : texts_) t.clear();
  for (auto& l : logprobs_) l.clear();
}

std::vector<OutputTensor> KServeOutputs::tensors() const {
  std::vector<OutputTensor> out;
  const auto count = static_cast<int64_t>(texts_.size());
  for (const std::string& name : wanted_) {
    if (name == kText) {
      out.push_back({name, "BYTES", {count}, texts_, raw_strings(texts_)});
    } else if (name == kSums) {
      out.push_back({name, "FP32", {count}, sums_, raw_floats(sums_)});
    } else {  // rows that are shorter end in zeros
      size_t longest = 0;
      for (const auto& l : logprobs_) longest = std::max(longest, l.size());
      std::vector<float> all;
      for (const auto& l : logprobs_) {
        all.insert(all.end(), l.begin(), l.end());
        all.resize(all.size() + longest - l.size());
      }
      out.push_back({name, "FP32", {count, static_cast<int64_t>(longest)}, all, raw_floats(all)});
    }
  }
  return out;
}

Json KServeOutputs::fields() const {
  const bool one = texts_.size() == 1;
  Json out = Json::object();
  for (const std::string& name : wanted_) {
    if (name == kText)
      out[name] = one ? Json(texts_[0]) : Json(texts_);
    else if (name == kSums)
      out[name] = one ? Json(sums_[0]) : Json(sums_);
    else
      out[name] = one ? Json(logprobs_[0]) : Json(logprobs_);
  }
  return out;
}

}  // namespace tokamak::serve

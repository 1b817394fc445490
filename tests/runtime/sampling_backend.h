// The CPU with a greedy sampler and recordings of its own: what decodes on a device, where no GPU
// is.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "runtime/forwarding_backend.h"

namespace tokamak::testing {

inline int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

class GreedySampler final : public DeviceSampler {
 public:
  size_t workspace_bytes(int32_t, int64_t) const override { return 64; }
  void choose(const DecodeRows& r, bool plain, std::byte*) override {
    EXPECT_TRUE(plain);
    ++choices;
    for (int32_t i = 0; i < r.rows; ++i) {
      const int32_t token = likeliest({r.logits + i * r.vocab, static_cast<size_t>(r.vocab)});
      if (r.history == nullptr) {
        r.token_ids[i] = r.chosen[i] = token;
        continue;
      }
      r.history[i * r.history_stride + r.history_len[i]] = token;
      r.chosen[i * r.chosen_stride + r.history_len[i] - r.prompt_len[i]] = token;
      ++r.history_len[i];
      r.token_ids[i] = token;
      ++r.positions[i];
      ++r.context_len[i];
    }
  }
  void feed(const FedTokens& t) override {
    for (int32_t i = 0; i < t.count; ++i) t.token_ids[t.to[i]] = t.chosen[t.from[i]];
    fed += t.count;
  }
  int choices = 0, fed = 0;
};

class Recorded final : public Recording {
 public:
  explicit Recorded(std::function<void()> work) : work(std::move(work)) {}
  const std::function<void()> work;
};

class SamplingBackend final : public ForwardingBackend {
 public:
  using ForwardingBackend::ForwardingBackend;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    ++recorded;
    return std::make_unique<Recorded>(work);
  }
  void replay(const Recording& r) override {
    ++replayed;
    static_cast<const Recorded&>(r).work();
  }
  DeviceSampler* sampler() override { return &sampler_; }

  int choices() const { return sampler_.choices; }
  int fed() const { return sampler_.fed; }  // tokens that the host did not see first
  int recorded = 0, replayed = 0;

 private:
  GreedySampler sampler_;
};

}  // namespace tokamak::testing

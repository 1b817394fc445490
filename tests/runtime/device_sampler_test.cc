// The device's sampler against the host's: same logits, parameters and seeds, same tokens, step by
// step, with histories and inputs of the next step.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "backend/cuda_plugin.h"
#include "base/error.h"
#include "runtime/sampler.h"

namespace tokamak {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

Backend* cuda(std::string& why) {
  static std::string reason;
  static const std::unique_ptr<Backend> backend = []() -> std::unique_ptr<Backend> {
    try {
      return load_cuda_backend();
    } catch (const Error& e) {
      reason = e.what();
      return nullptr;
    }
  }();
  why = reason;
  return backend.get();
}

template <typename T>
class OnDevice {
 public:
  OnDevice(Backend& b, const std::vector<T>& host)
      : backend_(b), size_(host.size()), buffer_(b.allocate(host.size() * sizeof(T))) {
    set(host);
  }
  void set(const std::vector<T>& host) {
    backend_.copy_in(buffer_.get(), reinterpret_cast<const std::byte*>(host.data()),
                     size_ * sizeof(T));
  }
  std::vector<T> get() const {
    std::vector<T> host(size_);
    backend_.copy_out(reinterpret_cast<std::byte*>(host.data()), buffer_.get(), size_ * sizeof(T));
    return host;
  }
  T* data() { return reinterpret_cast<T*>(buffer_.get()); }

 private:
  Backend& backend_;
  size_t size_;
  Backend::Buffer buffer_;
};

RowSampling row_of(const SamplingParams& p) {
  RowSampling r;
  r.temperature = static_cast<float>(p.temperature);
  r.top_p = static_cast<float>(p.top_p);
  r.min_p = static_cast<float>(p.min_p);
  r.top_k = static_cast<int32_t>(p.top_k);
  r.repetition_penalty = static_cast<float>(p.repetition_penalty);
  r.presence_penalty = static_cast<float>(p.presence_penalty);
  r.frequency_penalty = static_cast<float>(p.frequency_penalty);
  r.no_repeat_ngram_size = static_cast<int32_t>(p.no_repeat_ngram_size);
  r.seed = *p.seed;
  return r;
}

struct Request {
  SamplingParams params;
  std::vector<int32_t> prompt;
};

// A decoding batch in device memory; the recorded choice is replayed every step.
class DeviceBatch {
 public:
  DeviceBatch(Backend& b, const std::vector<Request>& requests, int64_t vocab, int64_t steps,
              bool plain)
      : backend_(b),
        rows_(requests.size()),
        vocab_(vocab),
        stride_(steps + 64),
        params_(b,
                collect<RowSampling>(requests, [](const Request& r) { return row_of(r.params); })),
        history_(b, histories(requests, stride_)),
        length_(b, collect<int32_t>(requests, prompt_size)),
        prompt_(b, collect<int32_t>(requests, prompt_size)),
        ids_(b, std::vector<int32_t>(rows_)),
        positions_(b, collect<int32_t>(requests, prompt_size)),
        context_(b, collect<int32_t>(requests, prompt_size)),
        logits_(b, std::vector<float>(rows_ * static_cast<size_t>(vocab))),
        workspace_(b.allocate(b.sampler()->workspace_bytes(static_cast<int32_t>(rows_), vocab))),
        chosen_(b.allocate_shared(rows_ * static_cast<size_t>(steps) * sizeof(int32_t))),
        steps_(steps) {
    std::memset(chosen_.get(), 0xff, rows_ * static_cast<size_t>(steps) * sizeof(int32_t));
    DecodeRows d;
    d.rows = static_cast<int32_t>(rows_);
    d.vocab = vocab;
    d.logits = logits_.data();
    d.params = params_.data();
    d.history = history_.data();
    d.history_len = length_.data();
    d.prompt_len = prompt_.data();
    d.history_stride = stride_;
    d.token_ids = ids_.data();
    d.positions = positions_.data();
    d.context_len = context_.data();
    d.chosen = reinterpret_cast<int32_t*>(chosen_.get());
    d.chosen_stride = steps;
    recording_ = b.record([&] { b.sampler()->choose(d, plain, workspace_.get()); });
  }
  void step(const std::vector<float>& logits) {
    logits_.set(logits);
    backend_.replay(*recording_);
    backend_.synchronize();
  }
  int32_t chosen(size_t row, int64_t n) const {
    return reinterpret_cast<const int32_t*>(chosen_.get())[static_cast<int64_t>(row) * steps_ + n];
  }
  // Inputs of the step after `done` steps.
  void check_inputs(const std::vector<Request>& requests, int64_t done) {
    const auto ids = ids_.get(), at = positions_.get(), context = context_.get(),
               length = length_.get(), history = history_.get();
    for (size_t r = 0; r < rows_; ++r) {
      const auto expected = static_cast<int32_t>(prompt_size(requests[r]) + done);
      ASSERT_EQ(at[r], expected);
      ASSERT_EQ(context[r], expected);
      ASSERT_EQ(length[r], expected);
      ASSERT_EQ(ids[r], std::max(chosen(r, done - 1), 0));
      for (int64_t n = 0; n < done; ++n)
        ASSERT_EQ(history[r * static_cast<size_t>(stride_) + requests[r].prompt.size() +
                          static_cast<size_t>(n)],
                  chosen(r, n));
    }
  }

 private:
  static int32_t prompt_size(const Request& r) { return static_cast<int32_t>(r.prompt.size()); }
  template <typename T, typename F>
  static std::vector<T> collect(const std::vector<Request>& requests, F f) {
    std::vector<T> out;
    for (const Request& r : requests) out.push_back(f(r));
    return out;
  }
  static std::vector<int32_t> histories(const std::vector<Request>& requests, int64_t stride) {
    std::vector<int32_t> out(requests.size() * static_cast<size_t>(stride), 12345678);
    for (size_t r = 0; r < requests.size(); ++r)
      std::copy(requests[r].prompt.begin(), requests[r].prompt.end(),
                out.begin() + static_cast<std::ptrdiff_t>(r) * stride);
    return out;
  }

  Backend& backend_;
  const size_t rows_;
  const int64_t vocab_, stride_;
  OnDevice<RowSampling> params_;
  OnDevice<int32_t> history_, length_, prompt_, ids_, positions_, context_;
  OnDevice<float> logits_;
  Backend::Buffer workspace_, chosen_;
  const int64_t steps_;
  std::unique_ptr<Recording> recording_;
};

class DeviceSampling : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    backend_ = cuda(why);
    if (backend_) return;
    ASSERT_EQ(std::getenv("TOKAMAK_NEED_CUDA"), nullptr) << why;
    GTEST_SKIP() << why;
  }
  Backend* backend_ = nullptr;
  std::mt19937 random_{20261};

  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  double uniform() { return static_cast<double>(random_()) / 4294967296.0; }

  // Rows of logits of one of several shapes: normal, flat, peaked, few values with many ties.
  std::vector<float> made_logits(size_t rows, int64_t vocab) {
    std::vector<float> out;
    std::normal_distribution<float> normal;
    for (size_t r = 0; r < rows; ++r) {
      const int64_t shape = below(4);
      const auto spread = static_cast<float>(shape == 1 ? 0.01 : 0.5 + 4 * uniform());
      for (int64_t i = 0; i < vocab; ++i) {
        float v = spread * normal(random_);
        if (shape == 2) v -= 12;
        if (shape == 3) v = std::round(v * 2) / 2;
        out.push_back(v);
      }
      for (int64_t i = 0; shape == 2 && i < 6; ++i)
        out[r * static_cast<size_t>(vocab) + static_cast<size_t>(below(vocab))] =
            static_cast<float>(4 * uniform());
      if (below(3) == 0 && vocab > 1)
        for (int64_t i = 0; i < vocab; i += 3)
          out[r * static_cast<size_t>(vocab) + static_cast<size_t>(i)] = -kInf;
    }
    return out;
  }
  Request made_request(int64_t vocab, bool plain) {
    Request r;
    for (int64_t n = 1 + below(40); n > 0; --n)
      r.prompt.push_back(
          static_cast<int32_t>(below(below(2) ? vocab : std::min<int64_t>(vocab, 20))));
    SamplingParams& p = r.params;
    p.seed = random_();
    p.temperature = 0;
    if (plain) return r;
    if (below(5) > 0) p.temperature = below(3) ? 0.3 + 1.4 * uniform() : 1;
    if (below(2)) p.top_k = 1 + below(below(2) ? 50 : 2 * vocab);
    if (below(2)) p.top_p = below(8) ? uniform() : 0.999;
    if (below(4) == 0) p.min_p = below(2) ? 0.3 * uniform() : 0.001;
    if (below(3) == 0) p.repetition_penalty = 0.8 + uniform();
    if (below(3) == 0) p.presence_penalty = 2 * uniform() - 1;
    if (below(3) == 0) p.frequency_penalty = 2 * uniform() - 1;
    if (below(3) == 0) p.no_repeat_ngram_size = 1 + below(3);
    return r;
  }

  // Draws that differ from the host's. A row is left alone after it.
  int compare(size_t rows, int64_t vocab, int64_t steps, bool plain) {
    std::vector<Request> requests;
    std::vector<Sampler> host;
    for (size_t r = 0; r < rows; ++r) {
      requests.push_back(made_request(vocab, plain));
      host.emplace_back(requests[r].params, vocab, requests[r].prompt);
    }
    DeviceBatch batch(*backend_, requests, vocab, steps, plain);
    std::vector<bool> parted(rows);
    int differ = 0;
    for (int64_t n = 0; n < steps; ++n) {
      const auto logits = made_logits(rows, vocab);
      batch.step(logits);
      for (size_t r = 0; r < rows; ++r) {
        if (parted[r]) continue;
        const auto v = static_cast<size_t>(vocab);
        const int32_t expected = host[r].next(std::span(logits).subspan(r * v, v));
        if (batch.chosen(r, n) == expected) continue;
        parted[r] = true;
        ++differ;
        const SamplingParams& p = requests[r].params;
        std::printf(
            "vocab %ld row %zu step %ld: device %d host %d; temperature %g top_k %ld top_p "
            "%g min_p %g penalties %g %g %g ngram %ld\n",
            static_cast<long>(vocab), r, static_cast<long>(n), batch.chosen(r, n), expected,
            p.temperature, static_cast<long>(p.top_k), p.top_p, p.min_p, p.repetition_penalty,
            p.presence_penalty, p.frequency_penalty, static_cast<long>(p.no_repeat_ngram_size));
        EXPECT_NE(p.temperature, 0);
      }
      batch.check_inputs(requests, n + 1);
    }
    return differ;
  }
};

TEST_F(DeviceSampling, GreedyTokensAreTheHosts) {
  for (const int64_t vocab :
       {int64_t{1}, int64_t{17}, int64_t{4096}, int64_t{4097}, int64_t{50257}})
    EXPECT_EQ(compare(vocab > 5000 ? 7 : 40, vocab, 6, true), 0) << vocab;
}

// A sum near a border may fall on the other side of it: a few draws of thousands may differ.
TEST_F(DeviceSampling, DrawsAreTheHosts) {
  int differ = 0, draws = 0;
  const auto run = [&](size_t rows, int64_t vocab, int64_t steps) {
    differ += compare(rows, vocab, steps, false);
    draws += static_cast<int>(rows) * static_cast<int>(steps);
  };
  run(200, 40, 12);
  run(200, 1000, 10);
  run(100, 5003, 6);
  run(40, 32000, 4);
  run(3, 128256, 3);
  run(2, 262144, 2);
  run(20, 151936, 1);
  std::printf("%d of %d draws differ\n", differ, draws);
  EXPECT_LE(differ, draws / 500);
}

TEST_F(DeviceSampling, ErrorsStayErrors) {
  for (const bool plain : {true, false}) {
    std::vector<Request> requests(4);
    for (Request& r : requests) {
      r.prompt = {1, 2};
      r.params.seed = 1;
      r.params.temperature = plain ? 0 : 1;
    }
    constexpr size_t kVocab = 3000;
    DeviceBatch batch(*backend_, requests, kVocab, 3, plain);
    std::vector<float> fine(4 * kVocab), bad;
    fine[kVocab - 1] = fine[2 * kVocab - 1] = fine[3 * kVocab - 1] = fine[4 * kVocab - 1] = 200;
    bad = fine;
    bad[77] = NAN;
    bad[kVocab + 2999] = kInf;
    std::fill_n(bad.begin() + 2 * kVocab, kVocab, -kInf);
    batch.step(bad);
    batch.step(fine);
    const int32_t expected[] = {kNanLogits, kInfiniteLogits, kNothingLeft, kVocab - 1};
    for (size_t r = 0; r < 4; ++r)
      for (int n = 0; n < 2; ++n) EXPECT_EQ(batch.chosen(r, n), expected[r]) << r << " " << n;
    batch.check_inputs(requests, 2);
    EXPECT_EQ(batch.chosen(3, 2), kNotChosenYet);
  }
}

}  // namespace
}  // namespace tokamak

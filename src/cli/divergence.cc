#include "cli/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "formats/model_config.h"
#include "text/tokenizer.h"

namespace tokamak::cli {
namespace {

double log_sum(std::span<const float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float l : logits) sum += std::exp(l - top);
  return std::log(sum) + top;
}

// KL(p || q) of two rows of logits, never below zero.
double divergence(std::span<const float> p, std::span<const float> q) {
  const double zp = log_sum(p), zq = log_sum(q);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - zp;
    if (log_p > -40) sum += std::exp(log_p) * (log_p - (q[i] - zq));
  }
  return std::max(0.0, sum);
}

int64_t likeliest(std::span<const float> row) {
  return std::max_element(row.begin(), row.end()) - row.begin();
}

struct Sums {
  double reference_nll = 0, nll = 0, kl = 0, kl2 = 0;
  int64_t same = 0, n = 0;
};

// rows: room for the reference's logits of the window's scored half.
void compare_window(LLM& reference, LLM& model, std::span<const int32_t> window,
                    std::vector<float>& rows, Sums& sums) {
  const auto size = static_cast<int64_t>(window.size()), first = size / 2;
  size_t width = 0;
  reference.score(window, [&](int64_t position, std::span<const float> logits) {
    if (position < first || position + 1 >= size) return;
    width = logits.size();
    rows.resize(width * static_cast<size_t>(size - 1 - first));
    std::copy(logits.begin(), logits.end(),
              rows.begin() + static_cast<std::ptrdiff_t>(width) * (position - first));
  });
  model.score(window, [&](int64_t position, std::span<const float> logits) {
    if (position < first || position + 1 >= size) return;
    const std::span<const float> expected(rows.data() + width * size_t(position - first), width);
    const int32_t target = window[size_t(position + 1)];
    sums.reference_nll += negative_log_likelihood(expected, target);
    sums.nll += negative_log_likelihood(logits, target);
    const double kl = divergence(expected, logits);
    sums.kl += kl;
    sums.kl2 += kl * kl;
    sums.same += likeliest(expected) == likeliest(logits);
    ++sums.n;
  });
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  return log_sum(logits) - logits[static_cast<size_t>(target)];
}

std::string Divergence::text() const {
  return fmt::format(
      "perplexity {:.4f}, reference {:.4f} ({:+.3f} %)\n"
      "KL divergence {:.6f} +/- {:.6f}, same likeliest token {:.2f} %  ({} of {} tokens scored)\n",
      perplexity, reference_perplexity, 100 * perplexity_change(), kl, kl_error, 100 * same_top,
      scored, tokens);
}

Divergence compare_models(LLM& reference, LLM& model, const std::string& text_file, int64_t ctx,
                          int64_t windows) {
  if (ctx < 4) fail("--ctx {} is too short; at least 4", ctx);
  if (reference.config().vocab_size != model.config().vocab_size)
    fail("the models have {} and {} words; expected the same vocabulary",
         reference.config().vocab_size, model.config().vocab_size);
  std::vector<int32_t> tokens = reference.tokenizer().encode(read_text(text_file));
  const auto empty = reference.tokenizer().encode("");
  int64_t count = static_cast<int64_t>(tokens.size()) / ctx;
  if (count == 0)
    fail("'{}' has {} tokens; a window of --ctx {} needs at least as many", text_file,
         tokens.size(), ctx);
  if (windows > 0) count = std::min(count, windows);
  Sums s;
  std::vector<float> rows;
  Progress progress("eval kl", count, "windows");
  for (int64_t w = 0; w < count; ++w) {
    const std::span<int32_t> window(tokens.data() + w * ctx, static_cast<size_t>(ctx));
    if (!empty.empty()) window[0] = empty[0];
    compare_window(reference, model, window, rows, s);
    progress.add(1, fmt::format("KL {:.5f}", s.kl / static_cast<double>(s.n)));
  }
  progress.finish();
  const auto n = static_cast<double>(s.n);
  Divergence d;
  d.reference_perplexity = std::exp(s.reference_nll / n);
  d.perplexity = std::exp(s.nll / n);
  d.kl = s.kl / n;
  d.kl_error = std::sqrt(std::max(0.0, s.kl2 / n - d.kl * d.kl) / n);
  d.same_top = static_cast<double>(s.same) / n;
  d.scored = s.n;
  d.tokens = static_cast<int64_t>(tokens.size());
  return d;
}

}  // namespace tokamak::cli

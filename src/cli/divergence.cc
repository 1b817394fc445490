#include "cli/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
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

// Of two rows of logits p and q: the logarithms of their normalizers and KL(p || q), never below 0.
struct Compared {
  double zp = 0, zq = 0, kl = 0;
};
Compared compare_rows(std::span<const float> p, std::span<const float> q) {
  const float top = *std::max_element(p.begin(), p.end());
  double sum = 0, difference = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double e = std::exp(p[i] - top);
    sum += e;
    difference += e * (double{p[i]} - q[i]);
  }
  Compared c{std::log(sum) + top, log_sum(q), 0};
  c.kl = std::max(0.0, difference / sum - c.zp + c.zq);
  return c;
}

int64_t likeliest(std::span<const float> row) {
  return std::max_element(row.begin(), row.end()) - row.begin();
}

struct Sums {
  double reference_nll = 0, nll = 0, difference2 = 0, kl = 0, kl2 = 0;
  int64_t same = 0, n = 0;
};

// The logits after the tokens of a window's second half, but for its last token: those are scored.
void score_half(LLM& llm, std::span<const int32_t> window,
                const std::function<void(int64_t, std::span<const float>)>& row) {
  const auto size = static_cast<int64_t>(window.size()), first = size / 2;
  llm.score(window, [&](int64_t position, std::span<const float> logits) {
    if (position >= first && position + 1 < size) row(position - first, logits);
  });
}

// rows: the reference's logits of the scored half, one after the other.
void compare_window(std::span<const float> rows, LLM& model, std::span<const int32_t> window,
                    Sums& sums) {
  score_half(model, window, [&](int64_t index, std::span<const float> logits) {
    const auto expected = rows.subspan(logits.size() * size_t(index), logits.size());
    const auto target = static_cast<size_t>(window[window.size() / 2 + size_t(index) + 1]);
    const Compared c = compare_rows(expected, logits);
    const double before = c.zp - expected[target], after = c.zq - logits[target];
    sums.reference_nll += before;
    sums.nll += after;
    sums.difference2 += (after - before) * (after - before);
    sums.kl += c.kl;
    sums.kl2 += c.kl * c.kl;
    sums.same += likeliest(expected) == likeliest(logits);
    ++sums.n;
  });
}

Divergence result_of(const Sums& s) {
  const auto n = static_cast<double>(s.n);
  Divergence d;
  d.reference_perplexity = std::exp(s.reference_nll / n);
  d.perplexity = std::exp(s.nll / n);
  const double difference = (s.nll - s.reference_nll) / n;
  d.change_error = std::sqrt(std::max(0.0, s.difference2 / n - difference * difference) / n);
  d.kl = s.kl / n;
  d.kl_error = std::sqrt(std::max(0.0, s.kl2 / n - d.kl * d.kl) / n);
  d.same_top = static_cast<double>(s.same) / n;
  d.scored = s.n;
  return d;
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, int32_t target) {
  return log_sum(logits) - logits[static_cast<size_t>(target)];
}

std::string Divergence::text() const {
  return fmt::format(
      "perplexity {:.4f}, reference {:.4f} ({:+.3f} % +/- {:.3f})\n"
      "KL divergence {:.6f} +/- {:.6f}, same likeliest token {:.2f} %  ({} of {} tokens scored)\n",
      perplexity, reference_perplexity, 100 * perplexity_change(), 100 * change_error, kl, kl_error,
      100 * same_top, scored, tokens);
}

std::vector<Divergence> compare_models(LLM& reference, std::span<LLM* const> models,
                                       const std::string& text_file, int64_t ctx, int64_t windows) {
  if (ctx < 4) fail("--ctx {} is too short; at least 4", ctx);
  if (windows < 0) fail("--windows is {}; expected a number of windows, or 0 for all", windows);
  for (const LLM* model : models)
    if (reference.config().vocab_size != model->config().vocab_size)
      fail("the models have {} and {} words; expected the same vocabulary",
           reference.config().vocab_size, model->config().vocab_size);
  std::vector<int32_t> tokens = reference.tokenizer().encode(read_text(text_file));
  const auto empty = reference.tokenizer().encode("");
  int64_t count = static_cast<int64_t>(tokens.size()) / ctx;
  if (count == 0)
    fail("'{}' has {} tokens; a window of --ctx {} needs at least as many", text_file,
         tokens.size(), ctx);
  if (windows > 0) count = std::min(count, windows);
  std::vector<Sums> sums(models.size());
  std::vector<float> rows;
  Progress progress("eval kl", count, "windows");
  for (int64_t w = 0; w < count; ++w) {
    const std::span<int32_t> window(tokens.data() + w * ctx, static_cast<size_t>(ctx));
    if (!empty.empty()) window[0] = empty[0];
    rows.clear();
    score_half(reference, window, [&](int64_t, std::span<const float> logits) {
      rows.insert(rows.end(), logits.begin(), logits.end());
    });
    for (size_t m = 0; m < models.size(); ++m) compare_window(rows, *models[m], window, sums[m]);
    progress.add(1, fmt::format("KL {:.5f}", sums[0].kl / static_cast<double>(sums[0].n)));
  }
  progress.finish();
  std::vector<Divergence> out;
  for (const Sums& s : sums) {
    out.push_back(result_of(s));
    out.back().tokens = static_cast<int64_t>(tokens.size());
  }
  return out;
}

}  // namespace tokamak::cli

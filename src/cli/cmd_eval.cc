// tokamak eval ppl: perplexity of a text, in the windows of llama-perplexity or of HF's strided
// recipe. tokamak eval kl: distance of a model's predictions from another's.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/divergence.h"
#include "cli/model_options.h"
#include "engine/engine_config.h"
#include "text/tokenizer.h"

namespace tokamak::cli {
namespace {

struct PplOptions {
  ModelOptions model;
  std::string text, method = "llama";
  int64_t ctx = 512, stride = 0;
  bool json = false;
};

struct Sums {
  double nll = 0, nll2 = 0;  // of scored tokens
  int64_t scored = 0;
  double weighted_nll = 0, weight = 0;  // the recipe's own average
  double perplexity() const { return std::exp(weighted_nll / weight); }
  // Standard error of the perplexity, from the spread of the tokens' losses.
  double error() const {
    if (scored < 2) return 0;
    const double mean = nll / scored;
    const double variance = std::max(0.0, nll2 / scored - mean * mean);
    return perplexity() * std::sqrt(variance / (scored - 1));
  }
};

// Scores the targets window[first_target] … window.back(); returns the mean loss over them.
void score_window(LLM& llm, std::span<const int32_t> window, int64_t first_target,
                  double weight_loss, Sums& sums) {
  double total = 0;
  int64_t n = 0;
  llm.score(window, [&](int64_t position, std::span<const float> logits) {
    const int64_t target = position + 1;
    if (target < first_target || target >= static_cast<int64_t>(window.size())) return;
    const double nll = negative_log_likelihood(logits, window[target]);
    total += nll;
    sums.nll += nll;
    sums.nll2 += nll * nll;
    ++n;
  });
  if (n == 0) return;
  sums.scored += n;
  const double weight = n + weight_loss;
  sums.weighted_nll += total / n * weight;
  sums.weight += weight;
}

// Disjoint windows of ctx tokens, the first replaced by BOS where the model adds one; the second
// half of each window is scored.
Sums llama_windows(LLM& llm, std::vector<int32_t> tokens, const PplOptions& o) {
  const auto empty = llm.tokenizer().encode("");
  const int64_t windows = static_cast<int64_t>(tokens.size()) / o.ctx;
  Sums sums;
  Progress progress("eval ppl", windows, "windows");
  for (int64_t w = 0; w < windows; ++w) {
    const std::span<int32_t> window(tokens.data() + w * o.ctx, o.ctx);
    if (!empty.empty()) window[0] = empty[0];
    score_window(llm, window, o.ctx / 2 + 1, 0, sums);
    progress.add(1, "ppl " + std::to_string(sums.perplexity()));
  }
  progress.finish();
  return sums;
}

// Overlapping windows: each scores the tokens that the one before did not see. The recipe weighs
// every window's mean by its targets less one.
Sums strided_windows(LLM& llm, const std::vector<int32_t>& tokens, const PplOptions& o) {
  const int64_t n = static_cast<int64_t>(tokens.size()),
                stride = o.stride > 0 ? o.stride : o.ctx / 2;
  Sums sums;
  Progress progress("eval ppl", (n + stride - 1) / stride, "windows");
  int64_t previous_end = 0;
  for (int64_t begin = 0; begin < n; begin += stride) {
    const int64_t end = std::min(begin + o.ctx, n);
    const int64_t first_target = std::max<int64_t>(1, previous_end - begin);
    const bool first = begin == 0;  // its first token has no context: one target fewer already
    score_window(llm, std::span(tokens).subspan(begin, end - begin), first_target, first ? 0 : -1,
                 sums);
    progress.add(1, "ppl " + std::to_string(sums.perplexity()));
    previous_end = end;
    if (end == n) break;
  }
  progress.finish();
  return sums;
}

int ppl(const PplOptions& o) {
  if (o.method != "llama" && o.method != "strided")
    fail("--method '{}' is unknown; known: llama, strided", o.method);
  if (o.ctx < 4) fail("--ctx {} is too short; at least 4", o.ctx);
  if (o.stride < 0 || o.stride > o.ctx)
    fail("--stride {} must lie in 1 … --ctx {}", o.stride, o.ctx);
  LLM llm(o.model.path(), o.model.llm);
  const std::vector<int32_t> tokens = llm.tokenizer().encode(read_text(o.text));
  if (static_cast<int64_t>(tokens.size()) < o.ctx)
    fail("'{}' has {} tokens; a window of --ctx {} needs at least as many", o.text, tokens.size(),
         o.ctx);
  const Sums sums =
      o.method == "llama" ? llama_windows(llm, tokens, o) : strided_windows(llm, tokens, o);
  if (o.json)
    std::puts(Json{{"perplexity", sums.perplexity()},
                   {"stderr", sums.error()},
                   {"scored_tokens", sums.scored},
                   {"tokens", tokens.size()},
                   {"ctx", o.ctx},
                   {"method", o.method}}
                  .dump(2)
                  .c_str());
  else
    std::printf("PPL = %.4f +/- %.4f  (%s, ctx %ld, %ld of %zu tokens scored)\n", sums.perplexity(),
                sums.error(), o.method.c_str(), o.ctx, sums.scored, tokens.size());
  return 0;
}

struct KlOptions {
  ModelOptions model;
  std::string reference, text;
  std::vector<std::string> also;
  int64_t ctx = 512, windows = 0;
  bool json = false;
};

// The flags are the model's; the reference keeps all 16 bits of its activations.
LLMOptions reference_options(const KlOptions& o) {
  LLMOptions options = o.model.llm;
  options.activation_bits = is_engine_directory(o.reference) ? "auto" : "16";
  return options;
}

Json json_of(const std::string& model, const Divergence& d, int64_t ctx) {
  return {{"model", model},
          {"perplexity", d.perplexity},
          {"reference_perplexity", d.reference_perplexity},
          {"perplexity_change", d.perplexity_change()},
          {"perplexity_change_stderr", d.change_error},
          {"kl_divergence", d.kl},
          {"kl_stderr", d.kl_error},
          {"same_likeliest_token", d.same_top},
          {"scored_tokens", d.scored},
          {"ctx", ctx}};
}

int kl(const KlOptions& o) {
  std::vector<std::string> paths = {o.model.path()};
  paths.insert(paths.end(), o.also.begin(), o.also.end());
  LLM reference(o.reference, reference_options(o));
  std::vector<std::unique_ptr<LLM>> llms;
  std::vector<LLM*> models;
  for (const std::string& path : paths)
    models.push_back(llms.emplace_back(std::make_unique<LLM>(path, o.model.llm)).get());
  const std::vector<Divergence> results =
      compare_models(reference, models, o.text, o.ctx, o.windows);
  Json all = Json::array();
  for (size_t i = 0; i < paths.size(); ++i) {
    all.push_back(json_of(paths[i], results[i], o.ctx));
    if (o.json) continue;
    if (paths.size() > 1) std::printf("%s\n", paths[i].c_str());
    std::fputs(results[i].text().c_str(), stdout);
  }
  if (o.json) std::puts((paths.size() > 1 ? all : all[0]).dump(2).c_str());
  return 0;
}

void declare_kl(CLI::App& sub, KlOptions& o) {
  add_model_options(sub, o.model);
  sub.add_option("--reference", o.reference,
                 "The model to compare with, at any stage; its activations keep 16 bits")
      ->required();
  sub.add_option("--also", o.also, "More models to compare with the reference in the same run")
      ->delimiter(',');
  sub.add_option("--text", o.text, "UTF-8 text file")->required();
  sub.add_option("--ctx", o.ctx, "Tokens of a window; its second half is scored")
      ->capture_default_str();
  sub.add_option("--windows", o.windows, "Only the first so many windows; 0: all");
  sub.add_flag("--json", o.json, "Print JSON");
}

}  // namespace

Run declare_eval(CLI::App& app) {
  auto o = std::make_shared<PplOptions>();
  CLI::App* sub = app.add_subcommand("ppl", "Perplexity of a text file");
  app.require_subcommand(1);
  add_model_options(*sub, o->model);
  sub->add_option("--text", o->text, "UTF-8 text file")->required();
  sub->add_option("--ctx", o->ctx, "Tokens of a window")->capture_default_str();
  sub->add_option(
         "--method", o->method,
         "llama: as llama-perplexity (second half of disjoint windows); strided: HF's recipe")
      ->capture_default_str();
  sub->add_option("--stride", o->stride, "strided: step between windows; 0: half of --ctx");
  sub->add_flag("--json", o->json, "Print one JSON object");
  auto k = std::make_shared<KlOptions>();
  CLI::App* other = app.add_subcommand("kl", "Divergence of a model's predictions from another's");
  declare_kl(*other, *k);
  return [o, k, other] { return other->parsed() ? kl(*k) : ppl(*o); };
}

}  // namespace tokamak::cli

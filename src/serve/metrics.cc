#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>

namespace tokamak::serve {
namespace {

constexpr double kFirst[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                             1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr double kBetween[] = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                               .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
constexpr double kWhole[] = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                             30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
constexpr double kTokens[] = {1,   2,    5,    10,   20,    50,    100,   200,
                              500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

void head(std::string& out, const char* name, const char* type, const char* help) {
  out += fmt::format("# HELP tokamak:{} {}\n# TYPE tokamak:{} {}\n", name, help, name, type);
}

// model: as a label.
void print_executor(std::string& out, const ExecutorStats& s, const std::string& model) {
  const auto one = [&](const char* name, const char* type, const char* help, auto value) {
    head(out, name, type, help);
    out += fmt::format("tokamak:{}{{{}}} {}\n", name, model, value);
  };
  const auto part = [](auto a, auto b) {
    return b > 0 ? static_cast<double>(a) / static_cast<double>(b) : 0.0;
  };
  one("num_requests_running", "gauge", "Requests in the batch.", s.running);
  one("num_requests_waiting", "gauge", "Requests that wait for room.", s.waiting);
  one("kv_cache_usage_perc", "gauge", "Part of the KV blocks in use; 1 is all.",
      part(s.kv_blocks_used, s.kv_blocks));
  one("kv_cache_cached_perc", "gauge", "Part of the KV blocks kept for prompts to come.",
      part(s.kv_blocks_cached, s.kv_blocks));
  one("kv_cache_shared_perc", "gauge",
      "Part of the KV blocks that sequences would need for themselves, saved by sharing.",
      s.kv_shared);
  one("kv_cache_waste_perc", "gauge", "Part of the room in used KV blocks that holds no token.",
      s.kv_waste);
  one("kv_blocks_swapped_out_total", "counter", "KV blocks moved to host memory.",
      s.kv_blocks_to_host);
  one("kv_blocks_swapped_in_total", "counter", "KV blocks brought back from there.",
      s.kv_blocks_from_host);
  one("step_busy_ratio", "gauge",
      "Part of the time with work that was spent inside steps of the model.",
      part(s.step_s, s.busy_s));
  one("steps_total", "counter", "Steps of the model.", s.steps);
  one("num_preemptions_total", "counter", "Requests that gave way and computed again.",
      s.preemptions);
  one("prompt_tokens_total", "counter", "Tokens of prompts.", s.prompt_tokens);
  one("generation_tokens_total", "counter", "Tokens generated.", s.generated_tokens);
  one("prefix_cache_queries_total", "counter", "Prompt tokens looked up in the prefix cache.",
      s.prompt_tokens);
  one("prefix_cache_hits_total", "counter", "Prompt tokens found there.", s.reused_tokens);
  one("spec_decode_num_drafts_total", "counter", "How often tokens of a request were guessed.",
      s.drafts);
  one("spec_decode_num_draft_tokens_total", "counter", "Tokens guessed.", s.draft_tokens);
  one("spec_decode_num_accepted_tokens_total", "counter", "Guessed tokens that were right.",
      s.accepted_draft_tokens);
}

}  // namespace

void Histogram::add(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  ++counts_[static_cast<size_t>(at)];
  sum_ += value;
}

void Histogram::print(std::string& out, const std::string& name, const std::string& labels) const {
  uint64_t total = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    total += counts_[i];
    out += fmt::format("tokamak:{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds_[i], total);
  }
  total += counts_.back();
  out += fmt::format("tokamak:{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels, total);
  out += fmt::format("tokamak:{}_sum{{{}}} {}\n", name, labels, sum_);
  out += fmt::format("tokamak:{}_count{{{}}} {}\n", name, labels, total);
}

Metrics::Metrics(const std::string& model)
    : model_(fmt::format("model_name=\"{}\"", escaped(model))),
      ttft_(kFirst),
      itl_(kBetween),
      tpot_(kBetween),
      e2e_(kWhole),
      prompt_(kTokens),
      generated_(kTokens),
      reasons_{{"stop", 0}, {"length", 0}, {"abort", 0}, {"error", 0}} {}

void Metrics::first_token(double s) {
  std::lock_guard lock(mutex_);
  ttft_.add(s);
}

void Metrics::next_token(double s) {
  std::lock_guard lock(mutex_);
  itl_.add(s);
}

void Metrics::ended(const std::string& reason, int64_t prompt_tokens, int64_t tokens, double e2e_s,
                    double tpot_s) {
  std::lock_guard lock(mutex_);
  ++reasons_[reason];
  if (reason != "stop" && reason != "length") return;
  prompt_.add(static_cast<double>(prompt_tokens));
  generated_.add(static_cast<double>(tokens));
  e2e_.add(e2e_s);
  if (tokens > 1) tpot_.add(tpot_s);
}

void Metrics::answered(int status) {
  std::lock_guard lock(mutex_);
  ++statuses_[status];
}

std::string Metrics::print(const ExecutorStats& s) const {
  std::string out;
  print_executor(out, s, model_);
  std::lock_guard lock(mutex_);
  const auto histogram = [&](const char* name, const char* help, const Histogram& h) {
    head(out, name, "histogram", help);
    h.print(out, name, model_);
  };
  histogram("time_to_first_token_seconds", "From a request's arrival to its first token.", ttft_);
  histogram("inter_token_latency_seconds", "From one token of a request to its next.", itl_);
  histogram("time_per_output_token_seconds",
            "Per request: first token to last, over the tokens after the first.", tpot_);
  histogram("e2e_request_latency_seconds", "From arrival to the last token.", e2e_);
  histogram("request_prompt_tokens", "Tokens of a request's prompt.", prompt_);
  histogram("request_generation_tokens", "Tokens generated for a request.", generated_);
  head(out, "request_success_total", "counter", "Requests that ended, by reason.");
  for (const auto& [reason, count] : reasons_)
    out += fmt::format("tokamak:request_success_total{{{},finished_reason=\"{}\"}} {}\n", model_,
                       reason, count);
  head(out, "http_responses_total", "counter", "Answers, by status.");
  for (const auto& [status, count] : statuses_)
    out +=
        fmt::format("tokamak:http_responses_total{{{},status=\"{}\"}} {}\n", model_, status, count);
  return out;
}

}  // namespace tokamak::serve

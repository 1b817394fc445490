#include "serve/load_test.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/json.h"
#include "serve/engine_room.h"

namespace tokamak::serve {
namespace {

constexpr const char* kWords[] = {
    "water",  "river",  "stone",   "light",  "house",  "garden",   "window",   "winter",
    "summer", "music",  "paper",   "letter", "city",   "road",     "bridge",   "ocean",
    "forest", "animal", "people",  "story",  "answer", "question", "morning",  "evening",
    "number", "figure", "machine", "engine", "market", "country",  "village",  "teacher",
    "doctor", "friend", "family",  "mother", "father", "child",    "table",    "chair",
    "bread",  "fruit",  "apple",   "horse",  "bird",   "field",    "mountain", "valley",
    "island", "travel", "carry",   "build",  "write",  "speak",    "listen",   "remember",
    "become", "follow", "small",   "large",  "early",  "quiet",    "simple",   "strong"};

std::string request_body(const LoadOptions& o, int64_t index) {
  Json b = {{"model", o.model},
            {"stream", true},
            {"temperature", o.temperature},
            {"max_tokens", o.output_len},
            {"stream_options", {{"include_usage", true}}}};
  if (o.ignore_eos) b["ignore_eos"] = true;
  if (o.temperature > 0) b["seed"] = o.seed + static_cast<uint64_t>(index);
  const std::string& prompt = o.prompts[static_cast<size_t>(index) % o.prompts.size()];
  if (o.endpoint.find("chat") != std::string::npos)
    b["messages"] = {{{"role", "user"}, {"content", prompt}}};
  else
    b["prompt"] = prompt;
  return b.dump();
}

// Text of a chunk's choices, of completions or of chat.
bool has_text(const Json& chunk) {
  const auto choices = chunk.find("choices");
  if (choices == chunk.end() || !choices->is_array()) return false;
  for (const Json& c : *choices) {
    const Json* text = c.contains("text") ? &c["text"] : nullptr;
    if (!text && c.contains("delta") && c["delta"].is_object() && c["delta"].contains("content"))
      text = &c["delta"]["content"];
    if (text && text->is_string() && !text->get_ref<const std::string&>().empty()) return true;
  }
  return false;
}

double percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return NAN;
  const double at = p * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - static_cast<double>(low));
}

struct Spread {
  double mean = NAN, p50 = NAN, p90 = NAN, p99 = NAN;
  explicit Spread(std::vector<double> ms) {
    if (ms.empty()) return;
    std::ranges::sort(ms);
    double sum = 0;
    for (const double v : ms) sum += v;
    mean = sum / static_cast<double>(ms.size());
    p50 = percentile(ms, .5);
    p90 = percentile(ms, .9);
    p99 = percentile(ms, .99);
  }
  std::string row(const char* name, const char* formula) const {
    return fmt::format("{:<10} {:>9.1f} {:>9.1f} {:>9.1f} {:>9.1f}   {}\n", name, mean, p50, p90,
                       p99, formula);
  }
};

struct Totals {
  int64_t ok = 0, failed = 0, prompt_tokens = 0, output_tokens = 0;
  std::vector<double> ttft, tpot, itl, e2e;  // ms
  explicit Totals(const std::vector<LoadSample>& samples) {
    for (const LoadSample& s : samples) {
      if (!s.error.empty()) {
        ++failed;
        continue;
      }
      ++ok;
      prompt_tokens += s.prompt_tokens;
      output_tokens += s.output_tokens;
      ttft.push_back(1e3 * s.ttft_s);
      e2e.push_back(1e3 * s.e2e_s);
      if (s.output_tokens > 1) tpot.push_back(1e3 * s.tpot_s);
      for (const double v : s.itl_s) itl.push_back(1e3 * v);
    }
  }
};

void run_closed(const LoadOptions& o, std::vector<TimedAnswer>& answers) {
  std::atomic<int64_t> next{0};
  std::vector<std::jthread> clients;
  for (int64_t c = 0; c < std::min(o.concurrency, o.requests); ++c)
    clients.emplace_back([&] {
      for (int64_t i = next++; i < o.requests; i = next++)
        answers[static_cast<size_t>(i)] =
            ask(o.target, "POST", o.endpoint, request_body(o, i), o.api_key, o.timeout_s);
    });
}

void run_open(const LoadOptions& o, std::vector<TimedAnswer>& answers) {
  std::mt19937_64 random(o.seed);
  std::exponential_distribution<double> gap(o.rate);
  std::vector<std::jthread> clients;
  auto at = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < o.requests; ++i) {
    std::this_thread::sleep_until(at);
    clients.emplace_back([&, i] {
      answers[static_cast<size_t>(i)] =
          ask(o.target, "POST", o.endpoint, request_body(o, i), o.api_key, o.timeout_s);
    });
    at += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
        std::chrono::duration<double>(gap(random)));
  }
}

}  // namespace

LoadSample to_sample(const TimedAnswer& a) {
  LoadSample s;
  s.e2e_s = a.total_s;
  s.error = a.error;
  if (s.error.empty() && a.status != 200)
    s.error = fmt::format("status {}: {}", a.status, a.body.substr(0, 200));
  if (!s.error.empty()) return s;
  double first = 0, last = 0;
  int64_t pieces = 0;
  bool done = false;
  for (const TimedEvent& e : a.events) {
    if (e.data == "[DONE]") {
      done = true;
      continue;
    }
    const Json chunk = Json::parse(e.data, nullptr, /*allow_exceptions=*/false);
    if (chunk.is_discarded() || chunk.contains("error")) {
      s.error = "in the stream: " + e.data.substr(0, 200);
      return s;
    }
    if (const auto u = chunk.find("usage"); u != chunk.end() && u->is_object()) {
      s.prompt_tokens = u->value("prompt_tokens", int64_t{0});
      s.output_tokens = u->value("completion_tokens", int64_t{0});
    }
    if (!has_text(chunk)) continue;
    if (pieces++ == 0)
      first = e.at_s;
    else
      s.itl_s.push_back(e.at_s - last);
    last = e.at_s;
  }
  if (!done || pieces == 0) s.error = pieces == 0 ? "no text came" : "the stream ended early";
  if (s.output_tokens == 0) s.output_tokens = pieces;  // servers that do not count
  s.ttft_s = first;
  if (s.output_tokens > 1) s.tpot_s = (last - first) / static_cast<double>(s.output_tokens - 1);
  return s;
}

LoadReport run_load(const LoadOptions& o) {
  std::vector<TimedAnswer> answers(static_cast<size_t>(o.requests));
  const double start = now_s();
  if (o.rate > 0)
    run_open(o, answers);
  else
    run_closed(o, answers);
  LoadReport r;
  r.wall_s = now_s() - start;
  for (const TimedAnswer& a : answers) r.samples.push_back(to_sample(a));
  return r;
}

std::string LoadReport::table(const LoadOptions& o) const {
  const Totals t(samples);
  std::string out;
  out += o.rate > 0 ? fmt::format("open loop, {} requests/s (Poisson)", o.rate)
                    : fmt::format("closed loop, {} clients", o.concurrency);
  out += fmt::format(", {} requests in {:.2f} s, {} failed\n", t.ok + t.failed, wall_s, t.failed);
  out +=
      fmt::format("requests/s {:.2f}   output tokens/s {:.1f}   total tokens/s {:.1f}\n",
                  static_cast<double>(t.ok) / wall_s, static_cast<double>(t.output_tokens) / wall_s,
                  static_cast<double>(t.output_tokens + t.prompt_tokens) / wall_s);
  out += fmt::format("prompt tokens {}   output tokens {}\n", t.prompt_tokens, t.output_tokens);
  out += fmt::format("{:<10} {:>9} {:>9} {:>9} {:>9}\n", "ms", "mean", "median", "P90", "P99");
  out += Spread(t.ttft).row("TTFT", "request sent to first text");
  out += Spread(t.tpot).row("TPOT", "(last text - first text) / (output tokens - 1)");
  out += Spread(t.itl).row("ITL", "from one piece of text to the next");
  out += Spread(t.e2e).row("E2E", "request sent to end of answer");
  for (const LoadSample& s : samples)
    if (!s.error.empty()) {
      out += "first error: " + s.error + "\n";
      break;
    }
  return out;
}

std::string LoadReport::json(const LoadOptions& o) const {
  const Totals t(samples);
  const auto spread = [](const std::vector<double>& v) {
    const Spread s(v);
    return Json{{"mean", s.mean}, {"median", s.p50}, {"p90", s.p90}, {"p99", s.p99}};
  };
  const Json j = {{"concurrency", o.rate > 0 ? 0 : o.concurrency},
                  {"request_rate", o.rate},
                  {"requests", t.ok},
                  {"failed", t.failed},
                  {"wall_s", wall_s},
                  {"requests_per_s", static_cast<double>(t.ok) / wall_s},
                  {"output_tokens_per_s", static_cast<double>(t.output_tokens) / wall_s},
                  {"prompt_tokens", t.prompt_tokens},
                  {"output_tokens", t.output_tokens},
                  {"ttft_ms", spread(t.ttft)},
                  {"tpot_ms", spread(t.tpot)},
                  {"itl_ms", spread(t.itl)},
                  {"e2e_ms", spread(t.e2e)}};
  return j.dump(1) + "\n";
}

std::vector<std::string> random_prompts(const PromptOptions& o) {
  std::mt19937_64 random(o.seed);
  const auto words = [&](int64_t count) {
    std::string text;
    for (int64_t i = 0; i < count; ++i) {
      if (!text.empty()) text += ' ';
      text += kWords[random() % std::size(kWords)];
    }
    return text;
  };
  const std::string prefix = words(o.shared_prefix_words);
  std::vector<std::string> prompts;
  for (int64_t i = 0; i < o.count; ++i) {
    const std::string own = words(o.words);
    prompts.push_back(prefix.empty() ? own : prefix + ' ' + own);
  }
  return prompts;
}

}  // namespace tokamak::serve

// tokamak bench_serve: loads any OpenAI endpoint and prints throughput and latencies.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "serve/load_test.h"

namespace tokamak::cli {
namespace {

struct BenchServe {
  std::string url = "http://127.0.0.1:8000", prompt_file;
  serve::LoadOptions load;
  serve::PromptOptions prompts;
  int64_t warmup = 0;
  bool chat = false, json = false;
};

std::string first_model(const serve::LoadOptions& o) {
  const serve::TimedAnswer a =
      serve::ask(o.target, "GET", "/v1/models", {}, o.api_key, o.timeout_s);
  if (!a.error.empty()) fail("{}", a.error);
  if (a.status != 200) fail("/v1/models answers with status {}: give --model", a.status);
  const Json json = parse_json(a.body, "/v1/models");
  try {
    return json.at("data").at(0).at("id").get<std::string>();
  } catch (const Json::exception&) {
    fail("/v1/models names no model: give --model");
  }
}

std::vector<std::string> read_prompts(const std::string& file) {
  std::vector<std::string> prompts;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) prompts.push_back(line);
  if (prompts.empty()) fail("--prompt_file '{}' has no lines", file);
  return prompts;
}

int bench(BenchServe& o) {
  serve::LoadOptions& load = o.load;
  load.target = serve::parse_url(o.url);
  if (o.chat) load.endpoint = "/v1/chat/completions";
  if (load.model.empty()) load.model = first_model(load);
  o.prompts.count = load.requests + o.warmup;
  o.prompts.seed = load.seed;
  load.prompts = o.prompt_file.empty() ? random_prompts(o.prompts) : read_prompts(o.prompt_file);
  if (o.warmup > 0) {  // with prompts of its own: the measured ones must not be known yet
    serve::LoadOptions warm = load;
    warm.requests = o.warmup;
    warm.rate = 0;
    warm.prompts.assign(load.prompts.end() - std::min<int64_t>(o.warmup, load.prompts.size()),
                        load.prompts.end());
    run_load(warm);
  }
  const serve::LoadReport report = run_load(load);
  std::fputs((o.json ? report.json(load) : report.table(load)).c_str(), stdout);
  for (const serve::LoadSample& s : report.samples)
    if (!s.error.empty()) return 1;
  return 0;
}

}  // namespace

Run declare_bench_serve(CLI::App& app) {
  auto o = std::make_shared<BenchServe>();
  serve::LoadOptions& l = o->load;
  app.add_option("--url", o->url, "Server, http only")->capture_default_str();
  app.add_option("--model", l.model, "Its name there; default: the first of /v1/models");
  app.add_option("--api_key", l.api_key, "Sent as bearer token");
  app.add_flag("--chat", o->chat, "Ask /v1/chat/completions, not /v1/completions");
  app.add_option("--num_requests", l.requests, "In all")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--concurrency", l.concurrency, "Closed loop: clients that ask one after another")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--request_rate", l.rate, "Open loop: Poisson arrivals per second")
      ->check(CLI::PositiveNumber);
  app.add_option("--input_words", o->prompts.words, "Random words of a prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--shared_prefix_words", o->prompts.shared_prefix_words,
                 "Words that all prompts begin with")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--prompt_file", o->prompt_file, "Prompts, one a line, in place of random ones");
  app.add_option("--output_len", l.output_len, "Tokens to generate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("!--allow_eos", l.ignore_eos, "Answers may end earlier");
  app.add_option("--temperature", l.temperature)->capture_default_str();
  app.add_option("--seed", l.seed, "Of prompts, arrivals and sampling")->capture_default_str();
  app.add_option("--warmup", o->warmup, "Requests before the measured ones")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--timeout", l.timeout_s, "Seconds without a byte")->capture_default_str();
  app.add_flag("--json", o->json, "Print JSON");
  return [o] { return bench(*o); };
}

}  // namespace tokamak::cli

// tokamak run: prompts in, text (or ids, or logits) out.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/prompts.h"
#include "formats/atomic_output.h"
#include "formats/npy.h"
#include "runtime/session.h"
#include "text/tokenizer.h"

namespace tokamak::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::vector<std::string> input_text;
  std::vector<std::string> lora_dir;
  std::vector<int> lora_task_uids;
  std::string input_file, output_csv, output_npy, output_logits, system_prompt, debug_dir;
  std::optional<int64_t> num_return_sequences, best_of, beam_width;
  double length_penalty = 0;
  int early_stopping = 1;
  bool chat_template = false, streaming = false, json = false, verbose = false, verify = false;
};

std::vector<Prompt> prompts_of(const RunOptions& o, const LLM& llm) {
  if (o.input_text.empty() == o.input_file.empty())
    fail("give exactly one of --input_text TEXT and --input_file FILE");
  std::vector<Prompt> prompts;
  for (const std::string& text : o.input_text) prompts.push_back({text, {}});
  if (!o.input_file.empty()) prompts = read_prompts(o.input_file);
  if (!o.chat_template) return prompts;
  for (Prompt& p : prompts) {
    if (!p.tokens.empty()) fail("--chat_template needs text prompts, '{}' holds ids", o.input_file);
    Json messages = Json::array();
    if (!o.system_prompt.empty())
      messages.push_back({{"role", "system"}, {"content", o.system_prompt}});
    messages.push_back({{"role", "user"}, {"content", p.text}});
    p.tokens =
        llm.tokenizer().encode(llm.apply_chat_template(messages.dump()), {.add_special = false});
  }
  return prompts;
}

std::string indexed(const std::string& path, size_t index, size_t count) {
  if (count == 1) return path;
  const std::filesystem::path p(path);
  return (p.parent_path() /
          (p.stem().string() + "." + std::to_string(index) + p.extension().string()))
      .string();
}

void write_ids(const RunOptions& o, const std::vector<Completion>& done) {
  if (!o.output_csv.empty()) {
    std::string lines;
    for (const Completion& c : done) lines += fmt::format("{}\n", fmt::join(c.tokens, ","));
    write_output(o.output_csv, lines);
  }
  if (!o.output_npy.empty()) {
    size_t longest = 0;
    for (const Completion& c : done) longest = std::max(longest, c.tokens.size());
    std::vector<int32_t> ids;
    for (const Completion& c : done) {
      ids.insert(ids.end(), c.tokens.begin(), c.tokens.end());
      ids.resize(ids.size() + longest - c.tokens.size(), -1);
    }
    write_npy(o.output_npy, {static_cast<int64_t>(done.size()), static_cast<int64_t>(longest)},
              ids);
  }
  if (o.output_logits.empty()) return;
  for (size_t i = 0; i < done.size(); ++i) {
    std::vector<float> rows;
    for (const auto& row : done[i].logits) rows.insert(rows.end(), row.begin(), row.end());
    const auto n = static_cast<int64_t>(done[i].logits.size());
    write_npy(indexed(o.output_logits, i, done.size()),
              {n, n ? static_cast<int64_t>(done[i].logits[0].size()) : 0}, rows);
  }
}

// The natural logarithm of each generated token's probability, and of the best ones.
Json to_json(const std::vector<TokenLogprobs>& logprobs) {
  Json all = Json::array();
  for (const TokenLogprobs& l : logprobs) {
    Json top = Json::array();
    for (const auto& [id, value] : l.top) top.push_back({{"id", id}, {"logprob", value}});
    all.push_back({{"logprob", l.token}, {"top", top}});
  }
  return all;
}

Json to_json(const Completion& c) {
  Json json{{"text", c.text},
            {"prompt_tokens", c.prompt_tokens},
            {"tokens", c.tokens},
            {"finish_reason", c.finish_reason},
            {"ttft_ms", c.first_token_s * 1e3},
            {"latency_ms", c.total_s * 1e3}};
  if (c.score != 0) json["score"] = c.score;
  if (!c.logprobs.empty()) json["logprobs"] = to_json(c.logprobs);
  return json;
}

// One line on stderr: TTFT = request → first token; decode rate over the tokens after the first.
void print_speed(const std::vector<Completion>& done) {
  size_t prompt = 0, out = 0, later = 0;
  int64_t drafted = 0, accepted = 0;
  double first = 0, last = 0;
  for (const Completion& c : done) {
    prompt += c.prompt_tokens.size();
    out += c.tokens.size();
    later += c.tokens.empty() ? 0 : c.tokens.size() - 1;
    drafted += c.draft_tokens;
    accepted += c.accepted_draft_tokens;
    first = std::max(first, c.first_token_s);
    last = std::max(last, c.total_s);
  }
  std::fprintf(
      stderr,
      "[%zu prompt tokens, TTFT %.1f ms (%.0f tokens/s); %zu output tokens, %.1f tokens/s]\n",
      prompt, first * 1e3, first > 0 ? prompt / first : 0.0, out,
      last > first ? later / (last - first) : 0.0);
  if (drafted > 0)
    std::fprintf(stderr, "[speculation: %lld of %lld guessed tokens were right, %.0f %%]\n",
                 static_cast<long long>(accepted), static_cast<long long>(drafted),
                 100.0 * static_cast<double>(accepted) / static_cast<double>(drafted));
}

// One adapter for all prompts, or the one that --lora_task_uids names for each (-1: none).
void choose_adapters(const RunOptions& o, LLM& llm, std::vector<Request>& requests) {
  std::vector<int32_t> adapters;
  for (const std::string& dir : o.lora_dir) adapters.push_back(llm.load_lora(dir));
  if (o.lora_task_uids.empty()) {
    if (adapters.size() > 1)
      fail(
          "{} --lora_dir are given: say by --lora_task_uids which prompt takes which, from 0 on "
          "(-1: none)",
          adapters.size());
    for (Request& r : requests) r.lora = adapters.empty() ? -1 : adapters[0];
    return;
  }
  if (o.lora_task_uids.size() != requests.size())
    fail("--lora_task_uids has {} numbers for {} prompts", o.lora_task_uids.size(),
         requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const int uid = o.lora_task_uids[i];
    if (uid < -1 || uid >= static_cast<int>(adapters.size()))
      fail("--lora_task_uids has {}; expected -1 to {}", uid,
           static_cast<int>(adapters.size()) - 1);
    requests[i].lora = uid < 0 ? -1 : adapters[static_cast<size_t>(uid)];
  }
}

void print_output(size_t index, size_t n, bool beams, const std::string& text) {
  if (n == 1)
    std::printf("Output [Text %zu]: \"%s\"\n", index, text.c_str());
  else
    std::printf("Output [Text %zu %s %zu]: \"%s\"\n", index / n, beams ? "Beam" : "Sample",
                index % n, text.c_str());
}

// All beams are given unless told otherwise.
void set_outputs(const RunOptions& o, SamplingParams& p) {
  p.beam_width = o.beam_width.value_or(1);
  p.n = o.num_return_sequences.value_or(p.beam_width);
  p.best_of = o.best_of.value_or(0);
  p.length_penalty = o.length_penalty;
  p.early_stopping = o.early_stopping;
  p.validate();
}

int run(const RunOptions& o) {
  LLMOptions options = o.model.llm;
  if (!o.lora_dir.empty() && options.max_loras < static_cast<int64_t>(o.lora_dir.size()))
    options.max_loras = static_cast<int64_t>(o.lora_dir.size());
  if (options.debug_tensors.empty() != o.debug_dir.empty())
    fail("--debug_tensors PATTERN and --debug_dir DIR go together");
  options.debug_dir = o.debug_dir;
  if (o.sampling.logprobs && !o.json) fail("--logprobs is part of the output of --json");
  LLM llm(o.model.path(), options);
  if (o.verify) llm.session().verify_weights();
  SamplingParams params = o.sampling.apply(llm.default_params(), llm);
  set_outputs(o, params);
  std::vector<Request> requests;
  for (Prompt& p : prompts_of(o, llm))
    requests.push_back({std::move(p.text), std::move(p.tokens), params, !o.output_logits.empty()});
  choose_adapters(o, llm, requests);

  const bool stream = o.streaming && !o.json;
  if (stream && (requests.size() > 1 || params.n > 1))
    fail("--streaming prints one output as it comes; {} prompts were given, {} outputs of each",
         requests.size(), params.n);
  const auto done = llm.generate(requests, [&](size_t, const std::string& text) {
    if (stream) std::fputs(text.c_str(), stdout), std::fflush(stdout);
    return true;
  });
  if (o.json) {
    Json all = Json::array();
    for (const Completion& c : done) all.push_back(to_json(c));
    std::puts(all.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else if (stream) {
    std::puts("");
    std::fflush(stdout);
  } else {
    for (size_t i = 0; i < done.size(); ++i)
      if (done.size() == 1)
        std::puts(done[i].text.c_str());
      else
        print_output(i, static_cast<size_t>(params.n), params.beam_width > 1, done[i].text);
  }
  write_ids(o, done);
  if (!o.json) print_speed(done);
  if (o.verbose) fmt::print(stderr, "memory:\n{}", llm.session().memory().table());
  return 0;
}

}  // namespace

Run declare_run(CLI::App& app) {
  auto o = std::make_shared<RunOptions>();
  add_model_options(app, o->model);
  app.add_option("--input_text", o->input_text, "A prompt; repeatable")->delimiter('\x1f');
  app.add_option("--input_file", o->input_file,
                 "Prompts: .txt (one a line), .jsonl, .csv or .npy (token ids)");
  app.add_flag("--chat_template,--use_chat_template", o->chat_template,
               "Put each prompt into the model's chat template as the user's message");
  app.add_option("--system_prompt", o->system_prompt, "With --chat_template: the system message");
  add_sampling_options(app, o->sampling);
  app.add_option("--beam_width,--num_beams", o->beam_width, "Beam search with so many beams");
  app.add_option("--length_penalty", o->length_penalty,
                 "A beam's score is its log-probability / (tokens made)^this")
      ->capture_default_str();
  app.add_option("--early_stopping", o->early_stopping,
                 "Beam search ends 1: when so many beams have ended; 0: when no running one would "
                 "be better if it ended now; 2: when none can become better")
      ->check(CLI::Range(0, 2))
      ->capture_default_str();
  app.add_option("--num_return_sequences", o->num_return_sequences,
                 "Outputs of each prompt; default 1, of beam search all");
  app.add_option("--best_of", o->best_of,
                 "Draw so many outputs and give the likeliest --num_return_sequences");
  add_speculation_options(app, o->model.llm);
  app.add_option("--lora_dir", o->lora_dir,
                 "LoRA adapter as PEFT writes it; repeatable (needs --max_lora_rank)");
  app.add_option("--lora_task_uids", o->lora_task_uids,
                 "Which --lora_dir each prompt takes, from 0 on; -1: none")
      ->delimiter(',');
  app.add_flag("--streaming", o->streaming, "Print text as it is generated");
  app.add_option("--output_csv", o->output_csv, "Write the generated ids, a line a prompt");
  app.add_option("--output_npy", o->output_npy,
                 "Write the generated ids [prompts, length], padded with -1");
  app.add_option("--output_logits", o->output_logits,
                 "Write the logits of generated positions (.npy)");
  app.add_flag("--json", o->json, "Print one JSON array");
  app.add_option("--logprobs", o->sampling.logprobs,
                 "With --json: log-probability of each token and of the N best ones");
  app.add_flag("--verify", o->verify, "Check the engine's weights against their checksum first");
  app.add_flag("--verbose", o->verbose, "Print what the run needed in memory");
  app.add_option("--debug_tensors", o->model.llm.debug_tensors, "Glob over tensor names to dump");
  app.add_option("--debug_dir", o->debug_dir,
                 "Where --debug_tensors writes .npy files, a folder a step");
  return [o] { return run(*o); };
}

}  // namespace tokamak::cli

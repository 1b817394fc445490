#include "cli/model_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "text/tokenizer.h"

namespace tokamak::cli {
namespace {

// "id:bias" or "text:bias", where the text is one token.
std::pair<int32_t, double> parse_bias(const std::string& item, const LLM& llm) {
  const size_t colon = item.rfind(':');
  if (colon == std::string::npos || colon == 0)
    fail("--logit_bias takes ID:BIAS or TEXT:BIAS, found '{}'", item);
  const std::string token = item.substr(0, colon);
  double bias = 0;
  const auto [end, error] =
      std::from_chars(item.data() + colon + 1, item.data() + item.size(), bias);
  if (error != std::errc() || end != item.data() + item.size())
    fail("--logit_bias '{}': '{}' is not a number", item, item.substr(colon + 1));
  int32_t id = 0;
  const auto [id_end, id_error] = std::from_chars(token.data(), token.data() + token.size(), id);
  if (id_error == std::errc() && id_end == token.data() + token.size()) return {id, bias};
  const auto ids = llm.tokenizer().encode(token, {.add_special = false});
  if (ids.size() != 1)
    fail("--logit_bias '{}': '{}' is {} tokens in this vocabulary, expected one", item, token,
         ids.size());
  return {ids[0], bias};
}

// The text itself, or the file of that name.
std::string text_or_file(const std::string& given) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(given, ignored) ? read_text(given) : given;
}

std::shared_ptr<const Guide> guide_of(const SamplingOptions& o, const LLM& llm) {
  using Kind = GuideSpec::Kind;
  std::vector<GuideSpec> specs;
  const auto add = [&](Kind kind, const std::string& given) {
    if (!given.empty()) specs.push_back({.kind = kind, .text = text_or_file(given)});
  };
  add(Kind::json_schema, o.guided_json);
  add(Kind::grammar, o.guided_grammar);
  if (!o.guided_regex.empty()) specs.push_back({.kind = Kind::regex, .text = o.guided_regex});
  if (!o.guided_choice.empty()) specs.push_back({.kind = Kind::choice, .choices = o.guided_choice});
  if (specs.size() > 1)
    fail("give at most one of --guided_json, --guided_regex, --guided_grammar and --guided_choice");
  return specs.empty() ? nullptr : llm.guide(specs[0]);
}

// A step's tokens, and what memory holds.
void add_memory_options(CLI::App& app, LLMOptions& o) {
  app.add_option("--max_num_tokens", o.max_num_tokens,
                 "Tokens of one step; longer prompts run in chunks; 0: the engine's limit")
      ->capture_default_str();
  app.add_option("--kv_cache_tokens", o.kv_cache_tokens,
                 "Room in the KV cache; 0: as the requests need, on a GPU a part of its memory")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--kv_cache_free_gpu_mem_fraction", o.kv_cache_free_gpu_mem_fraction,
                 "That part: of what weights and activations leave")
      ->capture_default_str();
  app.add_option(
         "--gpu_weights_percent", o.gpu_weights_percent,
         "On a GPU: weights that stay in its memory, in percent (80) or as a part (0.8); the "
         "others come from host memory in each step; auto: what fits")
      ->capture_default_str();
  app.add_option("--tokens_per_block", o.tokens_per_block,
                 "Tokens of a KV block: fewer waste less; 0: 16")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--max_lora_rank", o.max_lora_rank,
                 "Largest rank of LoRA adapters; 0: as the engine was built")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max_loras", o.max_loras, "LoRA adapters that are loaded at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--lora_target_modules", o.lora_target_modules,
                 "Linears that take adapters (q_proj, …, down_proj); default: as the engine was "
                 "built, or all");
}

}  // namespace

std::string ModelOptions::path() const {
  if (engine_dir.empty() == model.empty())
    fail(
        "give exactly one of --engine_dir DIR and --model PATH (HF directory, .gguf, checkpoint or "
        "engine)");
  return engine_dir.empty() ? model : engine_dir;
}

void add_model_options(CLI::App& app, ModelOptions& o) {
  app.add_option("--engine_dir", o.engine_dir, "Engine directory made by build");
  app.add_option(
      "--model", o.model,
      "Any stage: HF directory, .gguf file, checkpoint or engine directory; converted and "
      "built into a cache when needed");
  app.add_option("--tokenizer_dir", o.llm.tokenizer_dir,
                 "Tokenizer and chat template of another directory than the model's");
  app.add_option("--device", o.llm.device, "Backend")->capture_default_str();
  app.add_option("--workers", o.llm.workers, "CPU threads; 0: one per allowed core")
      ->capture_default_str();
  app.add_option("--plugin", o.llm.plugins,
                 "Library with ops of your own (docs/plugins.md); may be given several times");
  app.add_option("--dtype", o.llm.dtype, "With --model: auto, float32, float16 or bfloat16")
      ->capture_default_str();
  app.add_option("--keep_quantized", o.llm.keep_quantized, "With --model: keep GGUF blocks")
      ->capture_default_str();
  app.add_option("--kv_cache_dtype", o.llm.kv_cache_dtype,
                 "With --model: auto, float32, float16, bfloat16, int8 or fp8")
      ->capture_default_str();
  app.add_flag("!--no_tuning", o.llm.tuning,
               "With --model: rank tactics by estimate, time nothing");
  app.add_option("--activation_bits", o.llm.activation_bits,
                 "With --model: of linears: auto, 8, 16, or the kinds that get 8, e.g. "
                 "gate_up,down")
      ->capture_default_str();
  app.add_flag("--deterministic", o.llm.deterministic,
               "Results that do not depend on batch, chunks or workers, bit for bit");
  app.add_option("--weights", o.llm.weights,
                 "map: use the engine file in place; copy: into huge pages (slower start, faster "
                 "decoding of large models); auto: by size")
      ->check(CLI::IsMember({"auto", "map", "copy"}))
      ->capture_default_str();
  add_memory_options(app, o.llm);
  app.add_option("--cache_dir", o.llm.cache_dir, "Where --model builds; default ~/.cache/tokamak");
}

void add_speculation_options(CLI::App& app, LLMOptions& o) {
  app.add_option("--speculative_decoding_mode", o.speculative_mode,
                 "none; ngram: guess what followed the same tokens before; draft_model: a smaller "
                 "model guesses. Outputs stay the same")
      ->transform(CLI::Transformer(std::map<std::string, std::string>{
          {"prompt_lookup", "ngram"}, {"draft_tokens_external", "draft_model"}}))
      ->check(CLI::IsMember({"none", "ngram", "draft_model"}))
      ->capture_default_str();
  app.add_option_function<std::string>(
      "--draft_model,--speculative_model",
      [&o](const std::string& model) {
        const bool ngram = model == "ngram" || model == "[ngram]";
        o.speculative_mode = ngram ? "ngram" : "draft_model";
        if (!ngram) o.draft_model = model;
      },
      "The smaller model, at any stage, with the same vocabulary");
  app.add_option("--max_draft_len,--num_speculative_tokens", o.max_draft_len,
                 "Tokens that are guessed at a time; 0: 5")
      ->capture_default_str();
  app.add_option("--prompt_lookup_max,--ngram_prompt_lookup_max", o.prompt_lookup_max,
                 "ngram: how many of the last tokens must have been there before, at most")
      ->capture_default_str();
  app.add_option("--prompt_lookup_min,--ngram_prompt_lookup_min", o.prompt_lookup_min,
                 "The same, at least")
      ->capture_default_str();
}

void add_sampling_options(CLI::App& app, SamplingOptions& o) {
  app.add_option("--max_output_len", o.max_output_len, "Tokens to generate at most");
  app.add_option("--min_output_len", o.min_output_len, "No end of sequence before so many tokens");
  app.add_option("--temperature", o.temperature, "0: greedy");
  app.add_flag("--greedy", o.greedy, "Same as --temperature 0");
  app.add_option("--top_k", o.top_k, "Keep the k most likely tokens; 0: all");
  app.add_option("--top_p", o.top_p, "Keep the smallest set of tokens of this probability");
  app.add_option("--min_p", o.min_p, "Drop tokens below this part of the best one's probability");
  app.add_option("--repetition_penalty", o.repetition_penalty, "1: off");
  app.add_option("--presence_penalty", o.presence_penalty, "0: off");
  app.add_option("--frequency_penalty", o.frequency_penalty, "0: off");
  app.add_option("--no_repeat_ngram_size", o.no_repeat_ngram_size, "0: off");
  app.add_option("--seed,--random_seed", o.seed, "Same seed, same tokens");
  app.add_option("--stop_words", o.stop_words, "Texts that end the output; repeatable")
      ->delimiter('\x1f');
  app.add_option("--bad_words", o.bad_words, "Texts that must not appear; repeatable")
      ->delimiter('\x1f');
  app.add_option("--logit_bias", o.logit_bias, "ID:BIAS or TEXT:BIAS; repeatable");
  app.add_option("--end_id", o.end_ids, "Token ids that end the output, besides the model's");
  app.add_option(
      "--guided_json", o.guided_json,
      "JSON schema, or a file with one, that the output satisfies; {\"type\": \"object\"}: "
      "any object");
  app.add_option("--guided_regex", o.guided_regex, "Pattern that the whole output matches");
  app.add_option("--guided_grammar", o.guided_grammar,
                 "Grammar in llama.cpp's notation (root ::= …), or a file with one");
  app.add_option("--guided_choice", o.guided_choice, "A text that the output may be; repeatable")
      ->delimiter('\x1f');
  app.add_flag("--ignore_eos", o.ignore_eos, "Do not end at end-of-sequence tokens");
}

SamplingParams SamplingOptions::apply(SamplingParams p, const LLM& llm) const {
  const auto set = [](auto& field, const auto& given) {
    if (given) field = *given;
  };
  set(p.temperature, temperature);
  if (greedy) p.temperature = 0;
  set(p.top_k, top_k);
  set(p.top_p, top_p);
  set(p.min_p, min_p);
  set(p.repetition_penalty, repetition_penalty);
  set(p.presence_penalty, presence_penalty);
  set(p.frequency_penalty, frequency_penalty);
  set(p.no_repeat_ngram_size, no_repeat_ngram_size);
  set(p.max_tokens, max_output_len);
  set(p.min_tokens, min_output_len);
  if (seed) p.seed = seed;
  set(p.logprobs, logprobs);
  p.stop.insert(p.stop.end(), stop_words.begin(), stop_words.end());
  for (const std::string& word : bad_words)
    p.bad_words.push_back(llm.tokenizer().encode(word, {.add_special = false}));
  for (const std::string& item : logit_bias) p.logit_bias.insert(parse_bias(item, llm));
  p.stop_token_ids.insert(p.stop_token_ids.end(), end_ids.begin(), end_ids.end());
  p.ignore_eos = ignore_eos;
  p.guide = guide_of(*this, llm);
  p.validate();
  return p;
}

}  // namespace tokamak::cli

// POST /v1/completions
#include <nlohmann/json.hpp>

#include "serve/generation.h"
#include "serve/guide_fields.h"
#include "serve/openai_answer.h"
#include "serve/prompts.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

class Completion : public std::enable_shared_from_this<Completion> {
 public:
  Completion(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call)
      : room_(room),
        tokens_(tokens),
        call_(std::move(call)),
        answer_(call_, "cmpl-", {"text_completion", "text_completion"}) {}

  void run() {
    const Json body = call_->body();
    const Fields f(body);
    check_model(f, room_);
    refuse(f, {"suffix", "prompt_logprobs"});
    GenerationRequest g;
    g.prompts = read_prompts(f, "prompt", room_);
    read_shared(f, room_, g);
    g.params.guide = read_guide(f, *call_, room_);
    n_ = g.n;
    size_t longest = 0;
    for (const auto& p : g.prompts) longest = std::max(longest, p.size());
    const int64_t most = read_max_tokens(f, {"max_tokens"}, 16, longest, room_);
    if (const auto top = f.integer("logprobs", 0, 20)) {
      g.params.logprobs = static_cast<int>(*top);
      logprobs_ = true;
    }
    answer_.read(f, g.model);
    if (answer_.streams() && g.params.best_of > g.n)
      f.wrong("best_of", "n: the best of more are known at the end, nothing can be streamed");
    return_ids_ = !room_.tokenizer || f.flag("return_token_ids");
    if (f.flag("echo")) read_echo(g);
    choices_.resize(g.prompts.size() * static_cast<size_t>(n_));
    if (most == 0 && prompts_.empty()) return answer_nothing(g);
    drops_output_ = most == 0;  // one token must be made for the prompt to be computed
    g.params.max_tokens = std::max<int64_t>(most, 1);
    Generation::run(room_, std::move(g), call_->reply(), shared_from_this());
    if (answer_.streams()) call_->begin_events();
  }

 private:
  friend Generation;
  struct Choice {
    std::string text, finish_reason;
    int64_t offset = 0;  // characters so far
    Json logprobs, ids = Json::array();
    bool begun = false;
  };

  void read_echo(GenerationRequest& g) {
    if (logprobs_) {
      g.prompt_logprobs = g.params.logprobs;
      prompts_ = g.prompts;
    }
    for (const auto& prompt : g.prompts)
      echo_.push_back(room_.tokenizer ? room_.tokenizer->decode(prompt, /*skip_special=*/true)
                                      : std::string());
  }

  std::string echo_of(size_t choice) const {
    return echo_.empty() ? std::string() : echo_[choice / static_cast<size_t>(n_)];
  }

  // max_tokens 0: the prompt back, or nothing.
  void answer_nothing(const GenerationRequest& g) {
    Usage usage;
    for (const auto& p : g.prompts) usage.prompt_tokens += static_cast<int64_t>(p.size());
    if (answer_.streams()) call_->begin_events();
    for (size_t i = 0; i < choices_.size(); ++i) take({.choice = i, .finish_reason = "length"});
    end(usage, {});
  }

  // The first token follows nothing: it has no probability.
  void append_prompt(Json& out, const std::vector<int32_t>& prompt,
                     std::vector<TokenLogprobs>& logprobs, Choice& c) const {
    for (size_t i = 0; i < prompt.size(); ++i) {
      OutputToken t{prompt[i], {}};
      if (i > 0 && i <= logprobs.size()) t.logprobs = std::move(logprobs[i - 1]);
      append(out, t, c);
    }
    if (out["tokens"].empty()) return;
    out["token_logprobs"][0] = nullptr;
    out["top_logprobs"][0] = nullptr;
  }

  void append(Json& out, const OutputToken& t, Choice& c) const {
    tokens_.append_completion_entry(out, t, c.offset);
    for (const char b : tokens_.text(t.id)) c.offset += (b & 0xC0) != 0x80;
  }

  // The logprobs of a piece's tokens, with the place of each in the text.
  Json logprobs_of(Piece& p, Choice& c) const {
    Json out = TokenText::empty_completion_logprobs();
    if (!c.begun && !prompts_.empty())
      append_prompt(out, prompts_[p.choice / static_cast<size_t>(n_)], p.prompt_logprobs, c);
    for (const OutputToken& t : p.tokens) append(out, t, c);
    return out;
  }

  void take(Piece&& p) {
    Choice& c = choices_[p.choice];
    if (drops_output_) {
      p.text.clear();
      p.tokens.clear();
    }
    if (!c.begun) p.text.insert(0, echo_of(p.choice));
    Json logprobs = logprobs_ ? logprobs_of(p, c) : Json();
    c.begun = true;
    Json ids = Json::array();
    if (return_ids_)
      for (const OutputToken& t : p.tokens) ids.push_back(t.id);
    if (answer_.streams())
      return answer_.send(
          choice_json(p.choice, p.text, std::move(logprobs), p.finish_reason, std::move(ids)));
    c.text += p.text;
    c.finish_reason = p.finish_reason;
    for (Json& id : ids) c.ids.push_back(std::move(id));
    if (!logprobs_) return;
    if (c.logprobs.is_null()) c.logprobs = TokenText::empty_completion_logprobs();
    for (const auto& [key, values] : logprobs.items())
      for (const Json& v : values) c.logprobs[key].push_back(v);
  }

  Json choice_json(size_t index, const std::string& text, Json logprobs,
                   const std::string& finish_reason, Json ids) const {
    Json c = {{"index", index},
              {"text", text},
              {"logprobs", std::move(logprobs)},
              {"finish_reason", nullptr}};
    if (!finish_reason.empty()) c["finish_reason"] = finish_reason;
    if (return_ids_) c["token_ids"] = std::move(ids);
    return c;
  }

  void end(const Usage& u, const std::string& error) {
    answer_.end(u, error, [&] { return choices_json(); });
  }

  Json choices_json() {
    Json all = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      Choice& c = choices_[i];
      all.push_back(
          choice_json(i, c.text, std::move(c.logprobs), c.finish_reason, std::move(c.ids)));
    }
    return all;
  }

  EngineRoom& room_;
  const TokenText& tokens_;
  const std::shared_ptr<Call> call_;
  OpenAiAnswer answer_;
  bool logprobs_ = false, return_ids_ = false, drops_output_ = false;
  int64_t n_ = 1;
  std::vector<std::string> echo_;              // of each prompt
  std::vector<std::vector<int32_t>> prompts_;  // when their log-probabilities are asked for
  std::vector<Choice> choices_;
};

}  // namespace

void post_completions(EngineRoom& room, const TokenText& tokens, std::shared_ptr<Call> call) {
  std::make_shared<Completion>(room, tokens, std::move(call))->run();
}

}  // namespace tokamak::serve

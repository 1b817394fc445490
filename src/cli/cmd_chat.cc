// tokamak chat: a conversation in the terminal through the model's chat template.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/line_editor.h"
#include "cli/model_options.h"
#include "text/tokenizer.h"

namespace tokamak::cli {
namespace {

constexpr const char* kHelp =
    "  /help             this list\n"
    "  /system TEXT      set the system message and start anew\n"
    "  /clear            forget the conversation\n"
    "  /retry            answer the last message again\n"
    "  /set NAME VALUE   temperature, top_k, top_p, min_p, repetition_penalty, max_output_len, "
    "seed\n"
    "  /params           show the sampling parameters\n"
    "  /save FILE        write the conversation as JSON\n"
    "  /load FILE        continue a saved conversation\n"
    "  /exit             leave (or Ctrl-D); Ctrl-C stops an answer\n";

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::string system_prompt;
};

// Set by SIGINT while an answer is generated.
volatile std::sig_atomic_t interrupted = 0;

class Conversation {
 public:
  Conversation(LLM& llm, SamplingParams params, std::string system)
      : llm_(llm), params_(std::move(params)), system_(std::move(system)) {
    clear();
  }

  void clear() {
    messages_ = OrderedJson::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  void say(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    answer();
  }

  // False: leave.
  bool command(const std::string& line) {
    std::istringstream words(line);
    std::string name, rest;
    words >> name;
    std::getline(words >> std::ws, rest);
    if (name == "/exit" || name == "/quit") return false;
    if (name == "/help")
      std::fputs(kHelp, stdout);
    else if (name == "/clear")
      clear();
    else if (name == "/system")
      system_ = rest, clear();
    else if (name == "/retry")
      retry();
    else if (name == "/params")
      print_params();
    else if (name == "/set")
      set(rest);
    else if (name == "/save")
      save(rest);
    else if (name == "/load")
      load(rest);
    else
      fail("unknown command '{}'; /help lists the known ones", name);
    return true;
  }

 private:
  void answer() {
    Request request;
    request.tokens =
        llm_.tokenizer().encode(llm_.apply_chat_template(messages_.dump()), {.add_special = false});
    request.params = params_;
    interrupted = 0;
    const auto previous = std::signal(SIGINT, [](int) { interrupted = 1; });
    const std::vector<Request> batch = {request};
    const auto done = llm_.generate(batch, [](size_t, const std::string& text) {
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
      return interrupted == 0;
    });
    std::signal(SIGINT, previous);
    const Completion& c = done.at(0);
    const double decode = c.total_s - c.first_token_s;
    std::printf("\n");
    std::fprintf(stderr, "[%zu tokens, TTFT %.0f ms, %.1f tokens/s]\n", c.tokens.size(),
                 c.first_token_s * 1e3,
                 c.tokens.size() > 1 && decode > 0 ? (c.tokens.size() - 1) / decode : 0.0);
    messages_.push_back({{"role", "assistant"}, {"content", c.text}});
  }

  void retry() {
    if (messages_.empty() || messages_.back()["role"] != "assistant")
      fail("there is no answer to try again");
    messages_.erase(messages_.size() - 1);
    answer();
  }

  void print_params() const {
    std::printf(
        "  temperature %g, top_k %ld, top_p %g, min_p %g, repetition_penalty %g, max_output_len "
        "%ld, seed %s\n",
        params_.temperature, params_.top_k, params_.top_p, params_.min_p,
        params_.repetition_penalty, params_.max_tokens,
        params_.seed ? std::to_string(*params_.seed).c_str() : "random");
  }

  void set(const std::string& rest) {
    std::istringstream words(rest);
    std::string name;
    double value = 0;
    if (!(words >> name >> value)) fail("/set takes NAME VALUE, found '{}'", rest);
    SamplingParams p = params_;
    if (name == "temperature")
      p.temperature = value;
    else if (name == "top_k")
      p.top_k = static_cast<int64_t>(value);
    else if (name == "top_p")
      p.top_p = value;
    else if (name == "min_p")
      p.min_p = value;
    else if (name == "repetition_penalty")
      p.repetition_penalty = value;
    else if (name == "max_output_len")
      p.max_tokens = static_cast<int64_t>(value);
    else if (name == "seed")
      p.seed = static_cast<uint64_t>(value);
    else
      fail("/set: unknown parameter '{}'; /help lists the known ones", name);
    p.validate();
    params_ = p;
  }

  void save(const std::string& file) const {
    std::ofstream out(file);
    out << messages_.dump(1) << "\n";
    if (!out.flush()) fail("cannot write '{}'", file);
  }

  void load(const std::string& file) {
    OrderedJson loaded;
    try {
      loaded = OrderedJson::parse(read_text(file));
    } catch (const OrderedJson::exception& e) {
      fail("'{}' is not a saved conversation: {}", file, e.what());
    }
    if (!loaded.is_array()) fail("'{}' is not a saved conversation: expected an array", file);
    for (const OrderedJson& m : loaded)
      if (!m.is_object() || !m.contains("role") || !m.contains("content"))
        fail("'{}': every message needs role and content", file);
    messages_ = std::move(loaded);
  }

  LLM& llm_;
  SamplingParams params_;
  std::string system_;
  OrderedJson messages_;
};

std::filesystem::path history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  const std::filesystem::path base =
      state ? state : std::string(home ? home : ".") + "/.local/state";
  return base / "tokamak" / "chat_history";
}

int chat(const ChatOptions& o) {
  LLM llm(o.model.path(), o.model.llm);
  if (!llm.has_chat_template())
    fail(
        "'{}' has no chat template (chat_template.jinja or tokenizer_config.json); use `tokamak "
        "run`",
        o.model.path());
  SamplingParams defaults = llm.default_params();
  defaults.max_tokens = 1024;
  Conversation conversation(llm, o.sampling.apply(defaults, llm), o.system_prompt);
  LineEditor editor(history_file());
  std::fprintf(stderr, "/help lists the commands\n");
  while (const auto line = editor.read("> ")) {
    if (line->empty()) continue;
    try {
      if (line->front() != '/')
        conversation.say(*line);
      else if (!conversation.command(*line))
        break;
    } catch (const Error& e) {
      std::fprintf(stderr, "error: %s\n", e.what());
    }
  }
  return 0;
}

}  // namespace

Run declare_chat(CLI::App& app) {
  auto o = std::make_shared<ChatOptions>();
  add_model_options(app, o->model);
  app.add_option("--system_prompt", o->system_prompt, "The system message");
  add_sampling_options(app, o->sampling);
  add_speculation_options(app, o->model.llm);
  return [o] { return chat(*o); };
}

}  // namespace tokamak::cli

// One API request while it runs: its sequences (prompts × n), their text and token probabilities.
// Lives on the strand of its reply.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/text_stream.h"
#include "serve/engine_room.h"
#include "serve/http.h"

namespace tokamak::serve {

struct GenerationRequest {
  std::vector<std::vector<int32_t>> prompts;
  int64_t n = 1;  // outputs of each prompt: choices 0 … n-1 are the first prompt's
  SamplingParams params;
  int prompt_logprobs = -1;  // as ExecutorRequest's
  int32_t priority = 0;
  uint64_t cache_salt = 0;
  bool special_text = false;  // pieces show special tokens
  int32_t lora = -1;
  std::string model;  // as the client named it
};

struct OutputToken {
  int32_t id = 0;
  std::optional<TokenLogprobs> logprobs;
};

// What became certain of one choice's output.
struct Piece {
  size_t choice = 0;
  std::string text;  // whole UTF-8 characters
  std::vector<OutputToken> tokens;
  std::vector<TokenLogprobs> prompt_logprobs;  // of the prompt's second token on; first piece
  std::string finish_reason;                   // of the last piece: "stop" or "length"
  std::string stop_string;                     // that ended it; empty: something else did
};

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompts, in the KV cache already
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  using OnPiece = std::function<void(Piece&&)>;
  // Once, after the last piece of all choices; or with an error (no finish_reasons then).
  using OnEnd = std::function<void(const Usage&, const std::string& error)>;

  // Admits it (ApiError) and begins. Pieces come on the reply's strand until the client goes.
  static void run(EngineRoom& room, GenerationRequest request, std::shared_ptr<Reply> reply,
                  OnPiece on_piece, OnEnd on_end);
  // The same for a shared `to` with take(Piece&&) and end(usage, error), kept until the end.
  template <typename T>
  static void run(EngineRoom& room, GenerationRequest request, std::shared_ptr<Reply> reply,
                  std::shared_ptr<T> to) {
    run(
        room, std::move(request), std::move(reply), [to](Piece&& p) { to->take(std::move(p)); },
        [to](const Usage& u, const std::string& error) { to->end(u, error); });
  }
  ~Generation();

 private:
  struct Choice {
    size_t index = 0;
    uint64_t id = 0;     // the executor's
    int32_t output = 0;  // of that
    bool started = false, ended = false;
    std::optional<TextStream> text;
    std::vector<OutputToken> held;  // not yet in a piece
    std::vector<TokenLogprobs> held_of_prompt;
    int64_t tokens = 0;
    double first_s = 0, last_s = 0;  // when they came
    double noted_s = 0;              // the last one; of the executor's delivering thread alone
  };

  Generation(EngineRoom& room, GenerationRequest request, std::shared_ptr<Reply> reply,
             OnPiece on_piece, OnEnd on_end);
  void start();
  void start(size_t first, int64_t count);
  int64_t sequences() const;
  double note(Choice& c, const ExecutorEvent& e);
  void take(Choice& c, const ExecutorEvent& e, double came_s);
  void finish(Choice& c, const std::string& reason);
  void fail_all(const std::string& error);
  void cancel();
  void abandon(const std::string& reason);
  void count_end(const Choice& c, const std::string& reason);

  EngineRoom& room_;
  GenerationRequest request_;
  std::shared_ptr<Reply> reply_;
  OnPiece on_piece_;
  OnEnd on_end_;
  const double arrival_s_;
  std::vector<Choice> choices_;
  size_t running_ = 0;
  bool over_ = false;
  Usage usage_;
};

}  // namespace tokamak::serve

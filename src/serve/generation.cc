#include "serve/generation.h"

#include <algorithm>

#include "base/log.h"
#include "serve/api_error.h"

namespace tokamak::serve {

Generation::Generation(EngineRoom& room, GenerationRequest request, std::shared_ptr<Reply> reply,
                       OnPiece on_piece, OnEnd on_end)
    : room_(room),
      request_(std::move(request)),
      reply_(std::move(reply)),
      on_piece_(std::move(on_piece)),
      on_end_(std::move(on_end)),
      arrival_s_(now_s()) {
  for (const auto& prompt : request_.prompts)
    usage_.prompt_tokens += static_cast<int64_t>(prompt.size());
  choices_.resize(request_.prompts.size() * static_cast<size_t>(request_.n));
  for (size_t i = 0; i < choices_.size(); ++i) {
    choices_[i].index = i;
    if (room_.tokenizer)
      choices_[i].text.emplace(*room_.tokenizer, request_.params.stop, !request_.special_text);
  }
  running_ = choices_.size();
}

int64_t Generation::sequences() const {
  return static_cast<int64_t>(request_.prompts.size()) * request_.params.width();
}

Generation::~Generation() { room_.leave(sequences()); }

void Generation::run(EngineRoom& room, GenerationRequest request, std::shared_ptr<Reply> reply,
                     OnPiece on_piece, OnEnd on_end) {
  request.params.n = request.n;
  room.admit(static_cast<int64_t>(request.prompts.size()) * request.params.width());
  std::shared_ptr<Generation> g(new Generation(room, std::move(request), std::move(reply),
                                               std::move(on_piece), std::move(on_end)));
  g->start();
}

void Generation::start() {
  // Weak: the executor's callbacks keep it alive, and a reply must not keep itself.
  reply_->on_gone([weak = weak_from_this()] {
    if (const auto g = weak.lock()) g->cancel();
  });
  try {
    // Samples that do not fit into one step are requests of their own.
    const int64_t most =
        request_.params.width() == request_.n ? room_.executor.max_width() : request_.n;
    for (size_t i = 0; i < choices_.size();) {
      const int64_t count = std::min(most, request_.n - static_cast<int64_t>(i) % request_.n);
      start(i, count);
      i += static_cast<size_t>(count);
    }
  } catch (const ApiError&) {
    cancel();
    throw;
  } catch (const Error& e) {  // more than the KV cache can hold, a parameter out of range
    cancel();
    throw ApiError(400, e.what());
  }
}

// So many outputs of a prompt, from this choice on.
void Generation::start(size_t first, int64_t count) {
  const auto n = static_cast<size_t>(request_.n);
  ExecutorRequest r;
  r.tokens = request_.prompts[first / n];
  r.params = request_.params;
  r.params.stop.clear();
  r.params.n = count;
  if (r.params.seed) *r.params.seed += first % n;
  r.priority = request_.priority;
  r.prompt_logprobs = request_.prompt_logprobs;
  r.cache_salt = request_.cache_salt;
  r.lora = request_.lora;
  if (room_.request_timeout_s > 0) r.timeout_s = room_.request_timeout_s;
  const uint64_t id = room_.executor.enqueue(
      std::move(r), [self = shared_from_this(), first](const ExecutorEvent& e) {
        Choice& c = self->choices_[first + static_cast<size_t>(e.output)];
        const double came_s = self->note(c, e);
        self->reply_->post([self, &c, e, came_s] {
          try {
            self->take(c, e, came_s);
          } catch (const std::exception& failure) {  // one answer's trouble is not the server's
            log::error("an answer failed: {}", failure.what());
            self->fail_all("internal error");
          }
        });
      });
  for (int64_t i = 0; i < count; ++i) {
    Choice& c = choices_[first + static_cast<size_t>(i)];
    c.started = true;
    c.id = id;
    c.output = static_cast<int32_t>(i);
  }
}

// Times as they are when the token comes, not when somebody reads it.
double Generation::note(Choice& c, const ExecutorEvent& e) {
  const double now = now_s();
  if (!e.token) return now;
  if (c.noted_s == 0)
    room_.metrics.first_token(now - arrival_s_);
  else
    room_.metrics.next_token(now - c.noted_s);
  return c.noted_s = now;
}

void Generation::take(Choice& c, const ExecutorEvent& e, double came_s) {
  if (c.ended || over_) return;
  if (!e.prompt_logprobs.empty())
    for (Choice& other : choices_)
      if (other.started && other.id == c.id) other.held_of_prompt = e.prompt_logprobs;
  Piece piece;
  piece.choice = c.index;
  if (e.token) {
    if (c.tokens++ == 0) c.first_s = came_s;
    c.last_s = came_s;
    ++usage_.completion_tokens;
    if (c.tokens == 1 && c.index % static_cast<size_t>(request_.n) == 0)
      usage_.cached_tokens += e.reused_tokens;
    if (e.finish_reason != "stop") {  // the token that ends the output is no part of it
      c.held.push_back({*e.token, e.logprobs});
      if (c.text) piece.text = c.text->push(*e.token);
    }
  }
  if (e.last() && e.finish_reason != "stop" && e.finish_reason != "length")
    return fail_all(e.finish_reason == "timeout"     ? "the request ran out of time"
                    : e.finish_reason == "cancelled" ? "the server is shutting down"
                                                     : e.error);
  piece.finish_reason = e.finish_reason;
  if (e.last() && c.text && !c.text->stopped()) piece.text += c.text->finish();
  if (c.text && c.text->stopped()) {
    piece.finish_reason = "stop";
    piece.stop_string = c.text->stop_string();
    if (!e.last()) room_.executor.cancel(c.id, c.output);
  }
  const bool last = !piece.finish_reason.empty();
  if (piece.text.empty() && !last && c.text) return;
  piece.tokens = std::exchange(c.held, {});
  piece.prompt_logprobs = std::exchange(c.held_of_prompt, {});
  const std::string reason = piece.finish_reason;
  on_piece_(std::move(piece));
  if (last) finish(c, reason);
}

void Generation::finish(Choice& c, const std::string& reason) {
  c.ended = true;
  count_end(c, reason);
  if (--running_ > 0) return;
  over_ = true;
  on_end_(usage_, {});
}

void Generation::count_end(const Choice& c, const std::string& reason) {
  const double tpot = c.tokens > 1 ? (c.last_s - c.first_s) / static_cast<double>(c.tokens - 1) : 0;
  room_.metrics.ended(reason, usage_.prompt_tokens / static_cast<int64_t>(request_.prompts.size()),
                      c.tokens, now_s() - arrival_s_, tpot);
}

// Ends what has not ended yet.
void Generation::abandon(const std::string& reason) {
  over_ = true;
  for (Choice& c : choices_) {
    if (c.ended) continue;
    c.ended = true;
    if (c.started) room_.executor.cancel(c.id, c.output);
    count_end(c, reason);
  }
}

void Generation::fail_all(const std::string& error) {
  if (over_) return;
  abandon("error");
  on_end_(usage_, error.empty() ? "the model failed" : error);
}

void Generation::cancel() {
  if (!over_) abandon("abort");
}

}  // namespace tokamak::serve

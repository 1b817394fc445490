// POST /v1/embeddings
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "runtime/session.h"
#include "serve/generation.h"
#include "serve/prompts.h"
#include "serve/protocols.h"
#include "serve/sampling_fields.h"

namespace tokamak::serve {
namespace {

std::string base64(const std::vector<float>& values) {
  static constexpr char kLetters[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const size_t size = values.size() * sizeof(float);
  std::string bytes(size, '\0'), out;
  std::memcpy(bytes.data(), values.data(), size);
  bytes.append(2, '\0');
  for (size_t i = 0; i < size; i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | static_cast<unsigned char>(bytes[i + k]);
    for (size_t k = 0; k < 4; ++k) out += i + k > size ? '=' : kLetters[three >> (18 - 6 * k) & 63];
  }
  return out;
}

void normalize(std::vector<float>& v) {
  double sum = 0;
  for (const float x : v) sum += static_cast<double>(x) * x;
  const double length = std::sqrt(sum);
  if (length > 0)
    for (float& x : v) x = static_cast<float>(x / length);
}

// One request: an embedding for each input. Lives on the strand of its reply.
class Embeddings : public std::enable_shared_from_this<Embeddings> {
 public:
  Embeddings(EngineRoom& room, std::shared_ptr<Call> call) : room_(room), call_(std::move(call)) {}
  ~Embeddings() { room_.leave(admitted_); }

  void run() {
    const Json body = call_->body();
    const Fields f(body);
    model_ = f.string("model").value_or(room_.model);
    lora_ = room_.loras.find(model_);
    read(f);
    for (const auto& input : inputs_) {
      const auto n = static_cast<int64_t>(input.size());
      if (n > room_.max_model_len)
        throw ApiError(400,
                       fmt::format("input: the model's context is {} tokens, an input has {}",
                                   room_.max_model_len, n),
                       "input", "context_length_exceeded");
      tokens_ += n;
    }
    room_.admit(static_cast<int64_t>(inputs_.size()));
    admitted_ = static_cast<int64_t>(inputs_.size());
    embeddings_.resize(inputs_.size());
    left_ = inputs_.size();
    call_->reply()->on_gone([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->stop();
    });
    try {
      for (size_t i = 0; i < inputs_.size(); ++i) start(i);
    } catch (const Error& e) {
      stop();
      throw ApiError(400, e.what());
    }
  }

 private:
  void read(const Fields& f) {
    if (room_.llm.session().hidden_size() == 0)
      throw ApiError(400, "the engine keeps no hidden states for embeddings: build it again");
    inputs_ = read_prompts(f, "input", room_);
    const std::string format = f.string("encoding_format").value_or("float");
    if (format != "float" && format != "base64")
      f.wrong("encoding_format", "\"float\" or \"base64\"");
    base64_ = format == "base64";
    pooling_ = room_.pooling;
    if (const auto pooling = f.string("pooling")) {
      if (*pooling != "mean" && *pooling != "last") f.wrong("pooling", "\"mean\" or \"last\"");
      pooling_ = *pooling == "mean" ? Pooling::mean : Pooling::last;
    }
    normalize_ = f.boolean("normalize").value_or(true);
    const int64_t size = room_.llm.session().hidden_size();
    if (f.integer("dimensions").value_or(size) != size)
      f.wrong("dimensions", fmt::format("{}, the size of this model's embeddings", size));
  }

  void start(size_t i) {
    ExecutorRequest r;
    r.tokens = inputs_[i];
    r.pooling = pooling_;
    r.lora = lora_;
    if (room_.request_timeout_s > 0) r.timeout_s = room_.request_timeout_s;
    ids_.push_back(room_.executor.enqueue(
        std::move(r), [self = shared_from_this(), i](const ExecutorEvent& e) {
          self->call_->reply()->post([self, i, e] { self->take(i, e); });
        }));
  }

  void take(size_t i, const ExecutorEvent& e) {
    if (over_) return;
    if (e.finish_reason != "stop") {
      stop();
      call_->note_usage(tokens_, 0);
      return call_->error(ApiError(500, e.finish_reason == "timeout" ? "the request ran out of time"
                                        : e.error.empty()            ? "the server is shutting down"
                                                                     : e.error));
    }
    embeddings_[i] = e.embedding;
    if (normalize_) normalize(embeddings_[i]);
    if (--left_ == 0) end();
  }

  void end() {
    over_ = true;
    call_->note_usage(tokens_, 0);
    Json data = Json::array();
    for (size_t i = 0; i < embeddings_.size(); ++i) {
      Json one = {{"object", "embedding"}, {"index", i}};
      if (base64_)
        one["embedding"] = base64(embeddings_[i]);
      else
        one["embedding"] = embeddings_[i];
      data.push_back(std::move(one));
    }
    call_->json(200, {{"object", "list"},
                      {"model", model_},
                      {"data", std::move(data)},
                      {"usage", {{"prompt_tokens", tokens_}, {"total_tokens", tokens_}}}});
  }

  void stop() {
    if (std::exchange(over_, true)) return;
    for (const uint64_t id : ids_) room_.executor.cancel(id);
  }

  EngineRoom& room_;
  const std::shared_ptr<Call> call_;
  std::vector<std::vector<int32_t>> inputs_;
  std::string model_;
  int32_t lora_ = -1;
  Pooling pooling_ = Pooling::last;
  bool base64_ = false, normalize_ = true, over_ = false;
  int64_t tokens_ = 0, admitted_ = 0;
  size_t left_ = 0;
  std::vector<uint64_t> ids_;
  std::vector<std::vector<float>> embeddings_;
};

}  // namespace

void post_embeddings(EngineRoom& room, std::shared_ptr<Call> call) {
  std::make_shared<Embeddings>(room, std::move(call))->run();
}

}  // namespace tokamak::serve

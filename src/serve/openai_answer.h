// What the answers of /v1/completions and /v1/chat/completions share: id, time and model, whether
// they come as a stream, and how they end.
#pragma once
#include <memory>
#include <string>

#include "serve/call.h"
#include "serve/fields.h"
#include "serve/generation.h"

namespace tokamak::serve {

class OpenAiAnswer {
 public:
  // objects: what an answer, and what a chunk of a stream, calls itself.
  struct Objects {
    const char *whole, *chunk;
  };
  OpenAiAnswer(std::shared_ptr<Call> call, const char* id, Objects objects);

  // stream and stream_options of a body; the model as the client named it.
  void read(const Fields& fields, const std::string& model);
  bool streams() const { return streams_; }
  // One chunk of a stream.
  void send(Json choice);
  // A stream ends; otherwise `choices` (an array; not asked for in a stream) are the answer.
  void end(const Usage& usage, const std::string& error, const std::function<Json()>& choices);

 private:
  Json frame(const char* object, Json choices) const;

  const std::shared_ptr<Call> call_;
  const std::string id_;
  const Objects objects_;
  const int64_t created_;
  std::string model_;
  bool streams_ = false, include_usage_ = false;
};

}  // namespace tokamak::serve

#include "serve/engine_room.h"

#include "serve/api_error.h"

namespace tokamak::serve {

void EngineRoom::admit(int64_t sequences) {
  if (draining) throw ApiError(503, "the server is shutting down");
  const int64_t now = in_flight += sequences;
  if (max_in_flight == 0 || now <= max_in_flight) return;
  in_flight -= sequences;
  throw ApiError(429,
                 fmt::format("the queue is full: {} sequences run or wait, {} more asked for, at "
                             "most {} (--max_batch_size and --max_queue_size); try again later",
                             now - sequences, sequences, max_in_flight),
                 {}, "rate_limit_exceeded");
}

const Tokenizer& EngineRoom::need_tokenizer(const char* field) const {
  if (tokenizer) return *tokenizer;
  throw ApiError(400,
                 fmt::format("{}: the model '{}' has no tokenizer: give token ids", field, model),
                 field, "invalid_value");
}

}  // namespace tokamak::serve

#include "serve/token_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "serve/generation.h"
#include "text/byte_level.h"
#include "text/tokenizer.h"

namespace tokamak::serve {
namespace {

// Clients' JSON parsers know no infinity.
double finite(float logprob) { return std::max(-9999.0, static_cast<double>(logprob)); }

bool whole_utf8(const std::string& text) { return text.find("\xef\xbf\xbd") == std::string::npos; }

}  // namespace

TokenText::TokenText(const Tokenizer* tokenizer) : tokenizer_(tokenizer) {
  if (!tokenizer_) return;
  for (const char* piece : {"a", "A", "e", "0"}) {
    anchor_ = tokenizer_->id_of(piece);
    if (!anchor_) continue;
    anchor_text_ = tokenizer_->decode(std::span(&*anchor_, 1));
    return;
  }
}

std::string TokenText::text(int32_t id) const {
  if (!tokenizer_) return fmt::format("token_id:{}", id);
  if (anchor_) {
    const int32_t pair[] = {*anchor_, id};
    std::string both = tokenizer_->decode(pair);
    if (both.starts_with(anchor_text_)) return both.substr(anchor_text_.size());
  }
  return tokenizer_->decode(std::span(&id, 1));
}

std::string TokenText::bytes(int32_t id) const {
  std::string t = text(id);
  if (!tokenizer_ || whole_utf8(t)) return t;
  const std::string& piece = tokenizer_->piece(id);
  if (piece.size() == 6 && piece.starts_with("<0x") && piece.back() == '>')
    return {static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16))};
  if (!tokenizer_->is_special(id))
    if (auto raw = byte_level::unmapped(piece)) return *raw;
  return t;
}

Json TokenText::chat_entry(const OutputToken& token) const {
  const auto entry = [&](int32_t id, float logprob) {
    Json bytes_of = Json::array();
    for (const unsigned char b : bytes(id)) bytes_of.push_back(b);
    return Json{{"token", text(id)}, {"logprob", finite(logprob)}, {"bytes", std::move(bytes_of)}};
  };
  Json e = entry(token.id, token.logprobs ? token.logprobs->token : 0);
  e["top_logprobs"] = Json::array();
  if (token.logprobs)
    for (const auto& [id, logprob] : token.logprobs->top)
      e["top_logprobs"].push_back(entry(id, logprob));
  return e;
}

Json TokenText::empty_completion_logprobs() {
  return {{"tokens", Json::array()},
          {"token_logprobs", Json::array()},
          {"top_logprobs", Json::array()},
          {"text_offset", Json::array()}};
}

void TokenText::append_completion_entry(Json& logprobs, const OutputToken& token,
                                        int64_t offset) const {
  logprobs["tokens"].push_back(text(token.id));
  logprobs["text_offset"].push_back(offset);
  logprobs["token_logprobs"].push_back(token.logprobs ? finite(token.logprobs->token) : 0);
  Json top = Json::object();
  if (token.logprobs) {
    for (const auto& [id, logprob] : token.logprobs->top) top.emplace(text(id), finite(logprob));
    top.emplace(text(token.id), finite(token.logprobs->token));
  }
  logprobs["top_logprobs"].push_back(std::move(top));
}

}  // namespace tokamak::serve

#include "convert/sharding.h"

#include <algorithm>
#include <functional>

#include "base/error.h"

namespace tokamak {
namespace {

// "1, 2, 4": the sizes up to `most` that pass.
std::string that_would_do(int64_t most, const std::function<bool(int64_t)>& fits) {
  std::string out;
  for (int64_t n = 1; n <= most; ++n)
    if (fits(n)) out += (out.empty() ? "" : ", ") + std::to_string(n);
  return out;
}

bool kv_fits(int64_t kv, int64_t tp) { return kv % tp == 0 || tp % kv == 0; }

}  // namespace

void check_sharding(const ModelConfig& c, int tp_size, int pp_size) {
  if (tp_size < 1) fail("--tp_size is {}, expected 1 or more", tp_size);
  if (pp_size < 1) fail("--pp_size is {}, expected 1 or more", pp_size);
  const int64_t heads = c.num_attention_heads, kv = c.num_key_value_heads;
  const auto fits = [&](int64_t tp) {
    return heads % tp == 0 && kv_fits(kv, tp) && c.intermediate_size % tp == 0;
  };
  if (!fits(tp_size)) {
    const char* what = heads % tp_size != 0    ? "num_attention_heads"
                       : !kv_fits(kv, tp_size) ? "num_key_value_heads"
                                               : "intermediate_size";
    fail(
        "--tp_size is {}, which does not divide the model ({}; it has {} heads, {} key/value heads "
        "and intermediate_size {}); these would do: {}",
        tp_size, what, heads, kv, c.intermediate_size,
        that_would_do(std::min<int64_t>(heads, 64), fits));
  }
  const int64_t layers = c.num_hidden_layers;
  if (layers % pp_size != 0)
    fail("--pp_size is {}, which does not divide num_hidden_layers {}; these would do: {}", pp_size,
         layers, that_would_do(layers, [&](int64_t pp) { return layers % pp == 0; }));
}

int64_t padded_vocabulary(const ModelConfig& c, int tp_size) {
  return (c.vocab_size + tp_size - 1) / tp_size * tp_size;
}

Share share_of(const WeightRule& rule, const ModelConfig& c, int tp, int tp_size) {
  const auto even = [&](int64_t total) { return Share{total / tp_size * tp, total / tp_size}; };
  switch (rule.shard) {
    case Shard::copy:
      return {0, rule.rows};
    case Shard::rows:
    case Shard::q_heads:
      return even(rule.rows);
    case Shard::columns:
      return even(rule.columns);
    case Shard::kv_heads: {
      const int64_t kv = c.num_key_value_heads;
      if (kv >= tp_size) return even(rule.rows);
      return {tp * kv / tp_size * c.head_size, c.head_size};  // a head on several ranks
    }
    case Shard::vocabulary: {
      const int64_t rows = padded_vocabulary(c, tp_size) / tp_size;
      const int64_t begin = std::min(rows * tp, rule.rows);
      const int64_t count = std::min(rows, rule.rows - begin);
      return {begin, count, rows - count};
    }
  }
  return {};
}

Pieces take_rows(const Pieces& pieces, int64_t begin, int64_t count) {
  Pieces out;
  int64_t at = 0;
  for (const Piece& p : pieces) {
    const int64_t first = std::max(begin, at), last = std::min(begin + count, at + p.rows);
    if (first < last) {
      Piece part = p;
      part.row += first - at;
      part.rows = last - first;
      out.push_back(part);
    }
    at += p.rows;
  }
  return out;
}

Pieces take_columns(Pieces pieces, int64_t begin, int64_t count) {
  for (Piece& p : pieces) {
    p.column += begin;
    p.columns = count;
  }
  return pieces;
}

}  // namespace tokamak

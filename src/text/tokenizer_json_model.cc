// The "model" of a tokenizer.json: vocabulary, merges, scores.
#include <algorithm>

#include "text/string_index.h"
#include "text/tokenizer_json_parts.h"

namespace tokamak {
namespace {

// Ids may leave gaps, but not so large ones that a small file takes all memory.
constexpr uint64_t kMaxGap = 1u << 20;

// {"piece": id, …} → pieces by id.
std::vector<std::string> read_vocabulary(const JsonNode& node) {
  const auto object = node.object();
  std::vector<std::pair<uint64_t, std::string_view>> entries;
  uint64_t last = 0;
  for (const auto [piece, value] : object) {
    uint64_t id = 0;
    if (value.get_uint64().get(id) != simdjson::SUCCESS) {
      node.refuse(fmt::format("the id of '{}' is not an integer ≥ 0", piece));
    }
    entries.emplace_back(id, piece);
    last = std::max(last, id);
  }
  if (last >= entries.size() * 2 + kMaxGap) {
    node.refuse(fmt::format("id {} in a vocabulary of {} tokens", last, entries.size()));
  }
  std::vector<std::string> pieces(entries.empty() ? 0 : last + 1);
  for (const auto& [id, piece] : entries) {
    if (!pieces[id].empty() && pieces[id] != piece) {
      node.refuse(fmt::format("'{}' and '{}' have the same id {}", pieces[id], piece, id));
    }
    pieces[id] = piece;
  }
  return pieces;
}

std::optional<int32_t> find_unk(const JsonNode& node, const StringIndex& index) {
  const auto token = node.find("unk_token");
  const int32_t id = token ? index.find(token->text()) : -1;
  return id >= 0 ? std::optional(id) : std::nullopt;
}

class MergeReader {
 public:
  MergeReader(const JsonNode& node, const StringIndex& index, size_t prefix)
      : node_(node), index_(index), prefix_(prefix) {}

  std::vector<BpeMerge> read() {
    const auto array = node_.array();
    merges_.reserve(array.size());
    for (const auto item : array) {
      read_one(item);
      ++at_;
    }
    return std::move(merges_);
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    fail("{}[{}]: {}", node_.place(), at_, why);
  }

  // "a b" or ["a", "b"].
  void read_one(simdjson::dom::element item) {
    std::string_view text, left, right;
    simdjson::dom::array pair;
    if (item.get_string().get(text) == simdjson::SUCCESS) {
      if (text.starts_with("#version")) return;
      const size_t space = text.find(' ');
      if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        refuse(fmt::format("expected two tokens and one space, found '{}'", text));
      }
      left = text.substr(0, space);
      right = text.substr(space + 1);
    } else if (item.get_array().get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
               pair.at(0).get_string().get(left) != simdjson::SUCCESS ||
               pair.at(1).get_string().get(right) != simdjson::SUCCESS) {
      refuse("expected a string \"a b\" or an array [\"a\", \"b\"]");
    }
    merges_.push_back(resolve(left, right));
  }

  BpeMerge resolve(std::string_view left, std::string_view right) {
    if (right.size() < prefix_) refuse(fmt::format("'{}' lacks the continuing prefix", right));
    joined_.assign(left);
    joined_ += right.substr(prefix_);
    return {find(left), find(right), find(joined_)};
  }

  int32_t find(std::string_view token) const {
    const int32_t id = index_.find(token);
    if (id < 0) refuse(fmt::format("token '{}' is not in the vocabulary", token));
    return id;
  }

  const JsonNode& node_;
  const StringIndex& index_;
  size_t prefix_;
  size_t at_ = 0;
  std::string joined_;
  std::vector<BpeMerge> merges_;
};

BpeModel read_bpe(const JsonNode& node) {
  BpeModel bpe;
  bpe.pieces = read_vocabulary(node.at("vocab"));
  const StringIndex index(bpe.pieces);
  bpe.continuing_subword_prefix = node.text_or("continuing_subword_prefix", "");
  bpe.end_of_word_suffix = node.text_or("end_of_word_suffix", "");
  bpe.fuse_unk = node.boolean_or("fuse_unk", false);
  bpe.byte_fallback = node.boolean_or("byte_fallback", false);
  bpe.ignore_merges = node.boolean_or("ignore_merges", false);
  bpe.unk = find_unk(node, index);
  bpe.merges = MergeReader(node.at("merges"), index, bpe.continuing_subword_prefix.size()).read();
  return bpe;
}

WordPieceModel read_wordpiece(const JsonNode& node) {
  WordPieceModel model;
  model.pieces = read_vocabulary(node.at("vocab"));
  const StringIndex index(model.pieces);
  model.unk = index.find(node.text_or("unk_token", "[UNK]"));
  model.continuing_subword_prefix = node.text_or("continuing_subword_prefix", "##");
  if (const auto limit = node.find("max_input_chars_per_word")) {
    model.max_input_chars_per_word = limit->natural();
  }
  return model;
}

WordLevelModel read_word_level(const JsonNode& node) {
  WordLevelModel model;
  model.pieces = read_vocabulary(node.at("vocab"));
  const StringIndex index(model.pieces);
  const int32_t unk = index.find(node.text_or("unk_token", "<unk>"));
  if (unk >= 0) model.unk = unk;
  return model;
}

UnigramModel read_unigram(const JsonNode& node) {
  UnigramModel model;
  const JsonNode vocab = node.at("vocab");
  const auto array = vocab.array();
  for (const auto item : array) {
    std::string_view piece;
    double score = 0;
    simdjson::dom::array pair;
    if (item.get_array().get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get_string().get(piece) != simdjson::SUCCESS ||
        pair.at(1).get_double().get(score) != simdjson::SUCCESS) {
      fail("{}[{}]: expected [\"piece\", score]", vocab.place(), model.pieces.size());
    }
    model.pieces.emplace_back(piece);
    model.scores.push_back(score);
  }
  if (const auto unk = node.find("unk_id")) {
    model.unk = static_cast<int32_t>(unk->natural());
    if (unk->natural() >= model.pieces.size()) {
      unk->refuse(fmt::format("{} is outside the {} tokens", *model.unk, model.pieces.size()));
    }
  }
  model.byte_fallback = node.boolean_or("byte_fallback", false);
  return model;
}

// Old files do not say the type.
std::string_view guess_type(const JsonNode& node) {
  if (node.find("merges")) return "BPE";
  if (const auto vocab = node.find("vocab"); vocab && vocab->is_array()) return "Unigram";
  return node.find("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

}  // namespace

ModelSpec read_model(const JsonNode& node) {
  const auto named = node.find("type");
  const std::string_view type = named ? named->text() : guess_type(node);
  if (type == "BPE") return read_bpe(node);
  if (type == "WordPiece") return read_wordpiece(node);
  if (type == "WordLevel") return read_word_level(node);
  if (type == "Unigram") return read_unigram(node);
  node.refuse(fmt::format("'{}' is none of BPE, WordPiece, WordLevel, Unigram", type));
}

}  // namespace tokamak

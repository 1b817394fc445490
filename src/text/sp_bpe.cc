#include "text/sp_bpe.h"

#include <queue>
#include <unordered_map>

#include "base/error.h"
#include "text/sp_pieces.h"
#include "text/sp_utf8.h"

namespace tokamak {
namespace {

constexpr uint32_t kNoPath = UINT32_MAX;

uint32_t walk(const ByteTrie& trie, uint32_t node, std::string_view text) {
  if (trie.empty() || node == kNoPath) return kNoPath;
  for (const char c : text)
    if (!trie.step(node, static_cast<unsigned char>(c))) return kNoPath;
  return node;
}

bool test_bit(const std::array<uint64_t, 4>& bits, unsigned char i) {
  return (bits[i / 64] >> (i % 64)) & 1;
}

}  // namespace

SpBpe::SpBpe(const SpBpeModel& model, const std::string& source)
    : scores_(model.scores),
      types_(model.types),
      unk_(model.unk.value_or(-1)),
      byte_fallback_(model.byte_fallback),
      fuse_unk_(model.fuse_unk) {
  const size_t n = model.pieces.size();
  if (types_.empty()) types_.assign(n, PieceType::kNormal);
  if (scores_.size() != n || types_.size() != n)
    fail("{}: {} pieces, but {} scores and {} types", source, n, scores_.size(), types_.size());
  if (unk_ >= 0 && static_cast<size_t>(unk_) >= n)
    fail("{}: unknown piece has id {} of {}", source, unk_, n);
  pieces_ = mergeable_pieces(model.pieces, types_);
  reserved_ = reserved_pieces(model.pieces, types_);
  user_defined_ = user_defined_pieces(model.pieces, types_);
  byte_ids_ = byte_piece_ids(model.pieces, types_);
  for (size_t i = 0; i < n; ++i) {
    const std::string& piece = model.pieces[i];
    for (size_t at = piece.find(kSpaceSymbol, 1); at != std::string::npos;
         at = piece.find(kSpaceSymbol, at + 1)) {
      const auto before = static_cast<unsigned char>(piece[at - 1]);
      may_precede_space_[before / 64] |= uint64_t{1} << (before % 64);
    }
    // How an unused piece is split depends on all merges before it: then never cut the text.
    if (types_[i] == PieceType::kUnused && can_form(piece)) may_precede_space_.fill(~uint64_t{0});
  }
}

// Whether two symbols exist that may merge to this piece.
bool SpBpe::can_form(std::string_view piece) const {
  const auto is_symbol = [&](std::string_view text) {
    return announced_length(text) == text.size() ||
           pieces_.longest_prefix(text).first == text.size();
  };
  for (size_t cut = 1; cut < piece.size(); ++cut)
    if (is_symbol(piece.substr(0, cut)) && is_symbol(piece.substr(cut))) return true;
  return false;
}

// The merging of one stretch of text. Kept between stretches, so that memory is reused.
class SpBpeRun {
 public:
  explicit SpBpeRun(const SpBpe& model) : m_(model) {}

  // Calls sink(id, text of the piece) for the pieces in order.
  template <typename Sink>
  void run(std::string_view text, const Sink& sink) {
    text_ = text;
    split();
    for (size_t i = 1; i < symbols_.size(); ++i)
      propose(static_cast<int>(i) - 1, static_cast<int>(i));
    while (!agenda_.empty()) {
      const Pair top = agenda_.top();
      agenda_.pop();
      Symbol &left = symbols_[top.left], &right = symbols_[top.right];
      if (left.size == 0 || right.size == 0 || left.size + right.size != top.size) continue;
      left.size = top.size;
      left.node = top.node;
      left.next = right.next;
      right.size = 0;
      if (left.next >= 0) symbols_[left.next].prev = top.left;
      propose(left.prev, top.left);
      propose(top.left, left.next);
    }
    for (int i = symbols_.empty() ? -1 : 0; i != -1; i = symbols_[i].next)
      emit(text_.substr(symbols_[i].begin, symbols_[i].size), sink);
    unused_splits_.clear();
  }

 private:
  struct Symbol {
    int prev, next;
    uint32_t begin, size;  // size 0: merged into its left neighbour
    uint32_t node;         // where its text ends in the trie of pieces
    bool frozen;
  };
  struct Pair {
    float score;
    int left, right;
    uint32_t size, node;
    bool operator<(const Pair& o) const {
      return score < o.score || (score == o.score && left > o.left);
    }
  };

  void split() {
    symbols_.clear();
    for (size_t at = 0; at < text_.size();) {
      const std::string_view rest = text_.substr(at);
      size_t size = m_.user_defined_.longest_prefix(rest).first;
      const bool frozen = size > 0;
      if (!frozen) size = announced_length(rest);
      const int index = static_cast<int>(symbols_.size());
      const uint32_t node = walk(m_.pieces_, ByteTrie::kRoot, rest.substr(0, size));
      at += size;
      symbols_.push_back({index - 1, at == text_.size() ? -1 : index + 1,
                          static_cast<uint32_t>(at - size), static_cast<uint32_t>(size), node,
                          frozen});
    }
  }

  void propose(int left, int right) {
    if (left < 0 || right < 0) return;
    const Symbol &l = symbols_[left], &r = symbols_[right];
    if (l.frozen || r.frozen) return;
    const uint32_t node = walk(m_.pieces_, l.node, text_.substr(r.begin, r.size));
    if (node == kNoPath) return;
    const int32_t id = m_.pieces_.value(node);
    if (id < 0) return;
    agenda_.push({m_.scores_[id], left, right, l.size + r.size, node});
    if (m_.types_[id] == PieceType::kUnused)
      unused_splits_[text_.substr(l.begin, l.size + r.size)] = l.size;
  }

  template <typename Sink>
  void emit(std::string_view text, const Sink& sink) {
    uint32_t node = walk(m_.reserved_, ByteTrie::kRoot, text);
    int32_t id = node == kNoPath ? -1 : m_.reserved_.value(node);
    if (id < 0) {
      node = walk(m_.pieces_, ByteTrie::kRoot, text);
      id = node == kNoPath ? -1 : m_.pieces_.value(node);
    }
    if (id >= 0 && m_.types_[id] == PieceType::kUnused) {
      if (const auto it = unused_splits_.find(text); it != unused_splits_.end()) {
        const size_t cut = it->second;
        emit(text.substr(0, cut), sink);
        emit(text.substr(cut), sink);
        return;
      }
    }
    sink(id < 0 ? m_.unk_ : id, text);
  }

  const SpBpe& m_;
  std::string_view text_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Pair> agenda_;
  std::unordered_map<std::string_view, size_t> unused_splits_;  // piece → length of its left part
};

// Words repeat, and no merge crosses the place before a U+2581 unless some piece does: so the text
// is cut there, and the pieces of recent words are remembered.
void SpBpe::encode(std::string_view text, std::vector<int32_t>& ids) const {
  struct Piece {
    int32_t id;
    uint32_t size;
  };
  struct Remembered {
    std::string_view word;
    size_t begin = 0, count = 0;  // in `pieces`
  };
  constexpr size_t kSlots = 8192, kLongestWord = 64;
  if (text.size() >= UINT32_MAX)
    fail("a text of {} bytes is too long to be encoded at once", text.size());
  std::vector<Remembered> memory(text.size() > 256 ? kSlots : 1);
  std::vector<Piece> pieces;
  SpBpeRun run(*this);
  PieceSink sink(ids, byte_ids_, unk_, byte_fallback_, fuse_unk_);

  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find(kSpaceSymbol, begin + 1);
    while (end != std::string_view::npos &&
           test_bit(may_precede_space_, static_cast<unsigned char>(text[end - 1])))
      end = text.find(kSpaceSymbol, end + 1);
    const std::string_view word =
        text.substr(begin, end == std::string_view::npos ? end : end - begin);
    begin += word.size();
    if (word.size() > kLongestWord) {
      run.run(word, [&](int32_t id, std::string_view piece) { sink.add(id, piece); });
      continue;
    }
    Remembered& slot = memory[std::hash<std::string_view>{}(word) % memory.size()];
    if (slot.word != word || slot.count == 0) {
      const size_t first = pieces.size();
      run.run(word, [&](int32_t id, std::string_view piece) {
        pieces.push_back({id, static_cast<uint32_t>(piece.size())});
      });
      slot = {word, first, pieces.size() - first};
    }
    size_t at = 0;
    for (size_t i = slot.begin; i < slot.begin + slot.count; ++i) {
      sink.add(pieces[i].id, word.substr(at, pieces[i].size));
      at += pieces[i].size;
    }
  }
}

}  // namespace tokamak

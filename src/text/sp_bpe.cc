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

constexpr size_t kRightSides = 257;

// Index of a neighbourhood: the byte before `at`, and the character that begins there.
size_t neighbourhood(std::string_view text, size_t at) {
  const size_t right =
      text.substr(at).starts_with(kSpaceSymbol) ? 256 : static_cast<unsigned char>(text[at]);
  return static_cast<unsigned char>(text[at - 1]) * kRightSides + right;
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
  neighbours_.resize(256 * kRightSides);
  for (size_t i = 0; i < n; ++i) {
    note_neighbours(model.pieces[i]);
    // How an unused piece is split depends on all merges before it: then never cut the text.
    if (types_[i] == PieceType::kUnused && can_form(model.pieces[i]))
      neighbours_.assign(neighbours_.size(), true);
  }
}

void SpBpe::note_neighbours(std::string_view piece) {
  for (size_t at = 0; at < piece.size(); at += announced_length(piece.substr(at)))
    if (at > 0) neighbours_[neighbourhood(piece, at)] = true;
}

// Length of the stretch at the beginning that no piece leaves: merges cannot cross its end.
size_t SpBpe::word_length(std::string_view text) const {
  size_t at = announced_length(text);
  while (at < text.size() && neighbours_[neighbourhood(text, at)])
    at += announced_length(text.substr(at));
  return at;
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
      emit(text_.substr(symbols_[i].begin, symbols_[i].size), symbols_[i].node, sink);
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

  // node: where the text ends in the trie of pieces.
  template <typename Sink>
  void emit(std::string_view text, uint32_t node, const Sink& sink) {
    const uint32_t reserved = walk(m_.reserved_, ByteTrie::kRoot, text);
    int32_t id = reserved == kNoPath ? -1 : m_.reserved_.value(reserved);
    if (id < 0 && node != kNoPath) id = m_.pieces_.value(node);
    if (id >= 0 && m_.types_[id] == PieceType::kUnused) {
      if (const auto it = unused_splits_.find(text); it != unused_splits_.end()) {
        for (const auto part : {text.substr(0, it->second), text.substr(it->second)})
          emit(part, walk(m_.pieces_, ByteTrie::kRoot, part), sink);
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

// The text is cut where no merge can cross, and the ids of recent words are remembered.
void SpBpe::encode(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const {
  if (text.size() >= UINT32_MAX)
    fail("a text of {} bytes is too long to be encoded at once", text.size());
  SpBpeRun run(*this);
  const size_t start = ids.size();
  while (!text.empty()) {
    const std::string_view word = text.substr(0, word_length(text));
    text.remove_prefix(word.size());
    const size_t before = ids.size();
    if (word.size() > WordCache::kMaxBytes || !cache.find(word, ids)) {
      PieceSink sink(ids, byte_ids_, unk_, byte_fallback_, fuse_unk_);
      run.run(word, [&](int32_t id, std::string_view piece) { sink.add(id, piece); });
      if (word.size() <= WordCache::kMaxBytes)
        cache.store(word, ids.data() + before, ids.size() - before);
    }
    // A run of unknown pieces may span words.
    if (fuse_unk_ && !byte_fallback_ && unk_ >= 0 && before > start && ids[before - 1] == unk_ &&
        before < ids.size() && ids[before] == unk_)
      ids.erase(ids.begin() + static_cast<ptrdiff_t>(before));
  }
}

}  // namespace tokamak

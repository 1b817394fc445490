#include "guide/grammar.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "base/error.h"

namespace tokamak::guide {
namespace {

constexpr int64_t kInlineSize = 48;    // parts of an expression that is copied where it is used
constexpr uint64_t kWideLoop = 32;     // characters of a set whose repetition stays a rule
constexpr size_t kMostNesting = 2000;  // of mentions of rules in rules

// Which rules are copied where they are mentioned: short ones that do not lead back to themselves.
class Inliner {
 public:
  explicit Inliner(const Rules& rules)
      : rules_(rules), state_(rules.rules.size()), sizes_(rules.rules.size()) {
    for (size_t i = 0; i < state_.size(); ++i) visit(static_cast<int32_t>(i));
  }
  ExprPtr operator()(int32_t rule) const {
    const auto i = static_cast<size_t>(rule);
    return i < sizes_.size() && !rules_.rules[i].shared && sizes_[i] <= kInlineSize
               ? rules_.rules[i].expr
               : nullptr;
  }

 private:
  static constexpr int64_t kNever = int64_t{1} << 40;
  enum class Mark : uint8_t { fresh, open, done };

  int64_t visit(int32_t rule) {
    const auto i = static_cast<size_t>(rule);
    if (state_[i] == Mark::open) return kNever;
    if (state_[i] == Mark::done) return rules_.rules[i].shared ? 1 : sizes_[i];
    if (++depth_ > kMostNesting) fail("the grammar's rules nest too deeply");
    state_[i] = Mark::open;
    sizes_[i] = std::min(kNever, size_of(*rules_.rules[i].expr));
    state_[i] = Mark::done;
    --depth_;
    return rules_.rules[i].shared ? 1 : sizes_[i];
  }
  int64_t size_of(const Expr& e) {
    if (e.kind == Expr::Kind::rule) {
      const int64_t n = visit(e.rule);
      return n > kInlineSize && n < kNever ? 1 : n;  // a call
    }
    int64_t n = 1 + static_cast<int64_t>(e.text.size() / 2);
    for (const ExprPtr* extra : {&e.separator, &e.more})
      if (*extra) n += size_of(**extra);
    for (const ExprPtr& p : e.parts) n = std::min(kNever, n + size_of(*p));
    if (e.kind != Expr::Kind::repeat) return n;
    if (e.parts[0]->kind == Expr::Kind::chars && count(e.parts[0]->set) > kWideLoop)
      return std::max(n, kInlineSize + 1);
    const int64_t times = e.max == kUnbounded ? e.min + 1 : e.max;
    return times > kInlineSize ? std::max(n, kInlineSize + 1)
                               : std::min(kNever, n * std::max<int64_t>(1, times));
  }

  const Rules& rules_;
  std::vector<Mark> state_;
  std::vector<int64_t> sizes_;
  size_t depth_ = 0;
};

struct Compiled {
  std::vector<Fsm> fsms;  // of the rules that are called
  std::vector<std::string> names;
};

// States for long repetitions that are written out: masks are then shared by all of one that are
// far from its end, where calls of blocks need some for each place in a block.
constexpr int64_t kSpare = 40960;

// The root and what it calls, each once, numbered anew.
Compiled compile(Rules rules, int64_t spare) {
  const Inliner inliner(rules);
  Compiled out;
  std::map<int32_t, int32_t> number;  // of a rule -> of its automaton
  std::vector<int32_t> order;
  const auto wanted = [&](int32_t rule) {
    const auto [it, added] = number.emplace(rule, static_cast<int32_t>(order.size()));
    if (added) order.push_back(rule);
    return it->second;
  };
  wanted(rules.root);
  size_t states = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto rule = static_cast<size_t>(order[i]);
    const ExprPtr expr = rules.rules[rule].expr;
    const std::string name = rules.rules[rule].name;
    Nfa nfa(
        std::cref(inliner), [&](ExprPtr e) { return rules.add(name, std::move(e), true); }, &spare);
    Fsm fsm = nfa.determinized(*expr);
    states += fsm.states.size();
    if (states > kMaxStates) fail("the grammar needs more than {} states", kMaxStates);
    for (Fsm::State& s : fsm.states)
      for (CallEdge& c : s.calls) c.rule = wanted(c.rule);
    out.fsms.push_back(std::move(fsm));
    out.names.push_back(name);
  }
  return out;
}

Compiled compile(const Rules& rules) {
  try {
    return compile(rules, kSpare);
  } catch (const Error&) {  // perhaps too large so
    return compile(rules, 0);
  }
}

// Rules that can come to an end, and of the others' states none: no path leads nowhere.
void remove_dead_ends(std::vector<Fsm>& fsms) {
  std::vector<bool> ends(fsms.size());
  // Which rules end is found from below: first without calls, then with those that are known.
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = fsms.size(); i-- > 0;) {  // rules follow those that call them
      if (ends[i]) continue;
      Fsm copy = fsms[i];
      trim(copy, [&](int32_t rule) { return ends[static_cast<size_t>(rule)]; });
      const Fsm::State& s = copy.states[0];
      if (!s.final && s.bytes.empty() && s.calls.empty()) continue;
      ends[i] = changed = true;
    }
  }
  for (Fsm& fsm : fsms) trim(fsm, [&](int32_t rule) { return ends[static_cast<size_t>(rule)]; });
  if (!ends[0]) fail("the grammar matches nothing: no text comes to its end");
}

// Rules that match the empty text.
std::vector<bool> nullable_rules(std::span<const Fsm> fsms) {
  std::vector<bool> nullable(fsms.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = fsms.size(); i-- > 0;) {
      if (nullable[i]) continue;
      std::vector<int32_t> todo = {0};
      std::vector<bool> seen(fsms[i].states.size());
      while (!todo.empty() && !nullable[i]) {
        const auto at = static_cast<size_t>(todo.back());
        todo.pop_back();
        if (seen[at]) continue;
        seen[at] = true;
        nullable[i] = fsms[i].states[at].final;
        for (const CallEdge& c : fsms[i].states[at].calls)
          if (nullable[static_cast<size_t>(c.rule)]) todo.push_back(c.to);
      }
      changed = changed || nullable[i];
    }
  }
  return nullable;
}

// Rules that a rule may call before any byte, itself among them: the stack would grow for ever.
void refuse_left_recursion(std::span<const Fsm> fsms, std::span<const std::string> names) {
  const std::vector<bool> nullable = nullable_rules(fsms);
  std::vector<std::vector<int32_t>> first(fsms.size());
  for (size_t i = 0; i < fsms.size(); ++i) {
    std::vector<int32_t> todo = {0};
    std::vector<bool> seen(fsms[i].states.size());
    while (!todo.empty()) {
      const auto at = static_cast<size_t>(todo.back());
      todo.pop_back();
      if (seen[at]) continue;
      seen[at] = true;
      for (const CallEdge& c : fsms[i].states[at].calls) {
        first[i].push_back(c.rule);
        if (nullable[static_cast<size_t>(c.rule)]) todo.push_back(c.to);
      }
    }
  }
  std::vector<uint8_t> mark(fsms.size());  // 1: on the path, 2: done
  struct Step {
    size_t rule, next;
  };
  for (size_t root = 0; root < fsms.size(); ++root) {
    if (mark[root]) continue;
    std::vector<Step> path = {{root, 0}};
    mark[root] = 1;
    while (!path.empty()) {
      Step& s = path.back();
      if (s.next == first[s.rule].size()) {
        mark[s.rule] = 2;
        path.pop_back();
        continue;
      }
      const auto to = static_cast<size_t>(first[s.rule][s.next++]);
      if (mark[to] == 1)
        fail("rule '{}' begins with itself: write it with a repetition (* or +)", names[to]);
      if (mark[to] == 2) continue;
      mark[to] = 1;
      path.push_back({to, 0});
    }
  }
}

}  // namespace

Grammar::Grammar(Rules rules) {
  Compiled c = compile(rules);
  remove_dead_ends(c.fsms);
  refuse_left_recursion(c.fsms, c.names);
  classify_bytes(c.fsms);
  link(c.fsms, 0);
}

// Bytes that no state tells apart are one class.
void Grammar::classify_bytes(std::span<const Fsm> rules) {
  std::array<uint16_t, 256> class_of{};
  uint16_t classes = 1;
  std::map<std::pair<uint16_t, bool>, uint16_t> ids;
  std::map<std::pair<int, int>, bool> done;
  for (const Fsm& f : rules)
    for (const Fsm::State& s : f.states)
      for (const ByteEdge& e : s.bytes) {
        if (!done.emplace(std::pair(e.first, e.last), true).second) continue;
        ids.clear();
        classes = 0;
        for (int b = 0; b < 256; ++b) {
          uint16_t& c = class_of[static_cast<size_t>(b)];
          const auto [it, added] = ids.emplace(std::pair(c, b >= e.first && b <= e.last), classes);
          if (added) ++classes;
          c = it->second;
        }
      }
  classes_ = classes;
  for (size_t b = 0; b < 256; ++b) class_of_[b] = static_cast<uint8_t>(class_of[b]);
}

void Grammar::link(std::span<const Fsm> rules, int32_t root) {
  std::vector<int32_t> base;
  int32_t nodes = 0;
  for (const Fsm& f : rules) {
    base.push_back(nodes);
    nodes += static_cast<int32_t>(f.states.size());
  }
  root_ = base[static_cast<size_t>(root)];
  next_.assign(static_cast<size_t>(nodes) * classes_, -1);
  for (size_t r = 0; r < rules.size(); ++r)
    for (const Fsm::State& s : rules[r].states) {
      int32_t* row = next_.data() + nodes_.size() * classes_;
      for (const ByteEdge& e : s.bytes)
        for (int b = e.first; b <= e.last; ++b)
          row[class_of_[static_cast<size_t>(b)]] = base[r] + e.to;
      Node n;
      n.final = s.final;
      n.bytes = !s.bytes.empty();
      n.plain = !s.final && s.calls.empty();
      n.first_call = static_cast<uint32_t>(calls_.size());
      n.call_count = static_cast<uint32_t>(s.calls.size());
      for (const CallEdge& c : s.calls) {
        const Fsm::State& back = rules[r].states[static_cast<size_t>(c.to)];
        calls_.push_back({base[static_cast<size_t>(c.rule)], base[r] + c.to,
                          back.final && back.bytes.empty() && back.calls.empty()});
      }
      nodes_.push_back(n);
    }
}

}  // namespace tokamak::guide

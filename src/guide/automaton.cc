#include "guide/automaton.h"

#include <algorithm>
#include <bitset>

#include "base/error.h"
#include "guide/utf8_ranges.h"

namespace tokamak::guide {
namespace {

constexpr int64_t kBlock = 32;            // repetitions that a rule of their own holds
constexpr int64_t kWrittenOut = 2048;     // states of a repetition that is written out
constexpr int64_t kTooLarge = 1LL << 40;  // sizes are not counted beyond

[[noreturn]] void too_large() {
  fail("the grammar needs more than {} states: use smaller counts or fewer alternatives",
       kMaxStates);
}

int64_t capped(int64_t n) { return std::min(n, kTooLarge); }

// About how many states an expression takes.
int64_t size_of(const Expr& e) {
  int64_t n = 1;
  for (const ExprPtr& p : e.parts) n = capped(n + size_of(*p));
  switch (e.kind) {
    case Expr::Kind::literal:
      return capped(static_cast<int64_t>(e.text.size()) + 1);
    case Expr::Kind::chars:
      return e.set.empty() || e.set.back().last < 0x80 ? 1 : 6;
    case Expr::Kind::repeat: {
      const int64_t times = e.max == kUnbounded ? e.min + 1 : e.max;
      return times > kTooLarge / n ? kTooLarge : n * std::max<int64_t>(times, 1);
    }
    default:
      return n;
  }
}

// What both automata accept, or the first alone. Byte edges only.
Fsm combined(const Fsm& a, const Fsm& b, bool both) {
  Fsm out;
  std::map<std::pair<int32_t, int32_t>, int32_t> ids;
  std::vector<std::pair<int32_t, int32_t>> pairs;
  const auto id_of = [&](int32_t x, int32_t y) {
    const auto [it, added] = ids.emplace(std::pair(x, y), static_cast<int32_t>(pairs.size()));
    if (added) {
      if (pairs.size() >= kMaxStates) too_large();
      pairs.emplace_back(x, y);
    }
    return it->second;
  };
  id_of(0, 0);
  const auto next = [](const Fsm& f, int32_t s, int byte) {
    if (s < 0) return -1;
    for (const ByteEdge& e : f.states[static_cast<size_t>(s)].bytes)
      if (byte >= e.first && byte <= e.last) return e.to;
    return -1;
  };
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [x, y] = pairs[i];
    Fsm::State s;
    const bool in_b = y >= 0 && b.states[static_cast<size_t>(y)].final;
    s.final = a.states[static_cast<size_t>(x)].final && in_b == both;
    for (int byte = 0; byte < 256; ++byte) {
      const int32_t p = next(a, x, byte), q = next(b, y, byte);
      if (p < 0 || (both && q < 0)) continue;
      const int32_t to = id_of(p, q);
      if (!s.bytes.empty() && s.bytes.back().to == to && s.bytes.back().last + 1 == byte)
        s.bytes.back().last = static_cast<uint8_t>(byte);
      else
        s.bytes.push_back({static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to});
    }
    out.states.push_back(std::move(s));
  }
  trim(out, [](int32_t) { return true; });
  return out;
}

}  // namespace

void trim(Fsm& fsm, const std::function<bool(int32_t rule)>& ends) {
  const size_t n = fsm.states.size();
  std::vector<std::vector<int32_t>> before(n);
  std::vector<bool> alive(n);
  std::vector<int32_t> todo;
  for (size_t i = 0; i < n; ++i) {
    const Fsm::State& s = fsm.states[i];
    for (const ByteEdge& e : s.bytes)
      before[static_cast<size_t>(e.to)].push_back(static_cast<int32_t>(i));
    for (const CallEdge& e : s.calls)
      if (ends(e.rule)) before[static_cast<size_t>(e.to)].push_back(static_cast<int32_t>(i));
    if (s.final) todo.push_back(static_cast<int32_t>(i));
    alive[i] = s.final;
  }
  while (!todo.empty()) {
    const int32_t at = todo.back();
    todo.pop_back();
    for (const int32_t b : before[static_cast<size_t>(at)]) {
      if (alive[static_cast<size_t>(b)]) continue;
      alive[static_cast<size_t>(b)] = true;
      todo.push_back(b);
    }
  }
  std::vector<int32_t> number(n, -1);
  int32_t next = 0;
  for (size_t i = 0; i < n; ++i)
    if (alive[i] || i == 0) number[i] = next++;
  Fsm out;
  for (size_t i = 0; i < n; ++i) {
    if (number[i] < 0) continue;
    Fsm::State s;
    s.final = fsm.states[i].final;
    for (const ByteEdge& e : fsm.states[i].bytes)
      if (alive[static_cast<size_t>(e.to)])
        s.bytes.push_back({e.first, e.last, number[static_cast<size_t>(e.to)]});
    for (const CallEdge& e : fsm.states[i].calls)
      if (alive[static_cast<size_t>(e.to)] && ends(e.rule))
        s.calls.push_back({e.rule, number[static_cast<size_t>(e.to)]});
    out.states.push_back(std::move(s));
  }
  fsm = std::move(out);
}

Nfa::Nfa(Inline inlined, NewRule new_rule, int64_t* spare)
    : inlined_(std::move(inlined)), new_rule_(std::move(new_rule)), spare_(spare) {}

int32_t Nfa::add() {
  if (states_.size() >= kMaxStates) too_large();
  states_.emplace_back();
  return static_cast<int32_t>(states_.size()) - 1;
}

void Nfa::build(const Expr& e, int32_t from, int32_t to) {
  switch (e.kind) {
    case Expr::Kind::literal:
      return build_literal(e, from, to);
    case Expr::Kind::chars:
      return build_chars(e.set, from, to);
    case Expr::Kind::sequence:
      return build_sequence(e, from, to);
    case Expr::Kind::choice:
      for (const ExprPtr& p : e.parts) build(*p, from, to);
      return;
    case Expr::Kind::repeat:
      return build_repeat(e, from, to);
    case Expr::Kind::rule:
      TOKAMAK_ASSERT(inlined_);
      if (const ExprPtr copy = inlined_(e.rule))
        build(*copy, from, to);
      else
        at(from).calls.push_back({e.rule, to});
      return;
    case Expr::Kind::intersect:
    case Expr::Kind::minus:
      return build_combined(e, from, to);
    case Expr::Kind::list:
      return build_list(e, from, to);
  }
}

void Nfa::build_sequence(const Expr& e, int32_t from, int32_t to) {
  if (e.parts.empty()) return silent(from, to);
  for (size_t i = 0; i < e.parts.size(); ++i) {
    const int32_t next = i + 1 == e.parts.size() ? to : add();
    build(*e.parts[i], from, next);
    from = next;
  }
}

void Nfa::build_literal(const Expr& e, int32_t from, int32_t to) {
  if (e.text.empty()) return silent(from, to);
  for (size_t i = 0; i < e.text.size(); ++i) {
    const int32_t next = i + 1 == e.text.size() ? to : add();
    const auto byte = static_cast<uint8_t>(e.text[i]);
    at(from).bytes.push_back({byte, byte, next});
    from = next;
  }
}

// The ends of characters of several bytes are shared.
void Nfa::build_chars(const CharSet& set, int32_t from, int32_t to) {
  for (const CharRange& range : set)
    utf8_sequences(range, [&](std::span<const ByteRange> bytes) {
      int32_t next = to;
      for (size_t i = bytes.size() - 1; i > 0; --i) {
        const auto [it, added] = suffixes_.try_emplace({next, bytes[i].first, bytes[i].last}, -1);
        if (added) {
          it->second = add();
          at(it->second).bytes.push_back({bytes[i].first, bytes[i].last, next});
        }
        next = it->second;
      }
      at(from).bytes.push_back({bytes[0].first, bytes[0].last, next});
    });
}

void Nfa::build_repeat(const Expr& e, int32_t from, int32_t to) {
  if (e.max < e.min) return;
  const int64_t size = size_of(e);
  if (new_rule_ && size > kWrittenOut && (e.max == kUnbounded ? e.min : e.max) > 2 * kBlock) {
    if (spare_ == nullptr || size > *spare_) return build_long_repeat(e, from, to);
    *spare_ -= size;
  }
  const Expr& part = *e.parts[0];
  for (int64_t i = 0; i < e.min; ++i) {
    const int32_t next = add();
    build(part, from, next);
    from = next;
  }
  if (e.max == kUnbounded) {
    const int32_t loop = add();
    silent(from, loop);
    build(part, loop, loop);
    from = loop;
  } else {
    for (int64_t i = e.min; i < e.max; ++i) {
      const int32_t next = add();
      silent(from, to);
      build(part, from, next);
      from = next;
    }
  }
  silent(from, to);
}

// Blocks of repetitions are calls of one rule: few states, and masks that are shared by all blocks.
void Nfa::build_long_repeat(const Expr& e, int32_t from, int32_t to) {
  const ExprPtr& part = e.parts[0];
  auto [it, added] = blocks_.try_emplace(part.get());
  if (added)
    it->second = {new_rule_(repeat(part, kBlock, kBlock)), new_rule_(repeat(part, 0, kBlock - 1))};
  const auto [full, less] = it->second;
  const auto call = [&](int32_t rule, int32_t next) { at(from).calls.push_back({rule, next}); };
  const int32_t begun = add();
  build(*repeat(part, e.min % kBlock, e.min % kBlock), from, begun);
  from = begun;
  for (int64_t i = 0; i < e.min / kBlock; ++i) {
    const int32_t next = add();
    call(full, next);
    from = next;
  }
  if (e.max == kUnbounded) return build(*repeat(part, 0, kUnbounded), from, to);
  for (int64_t left = (e.max - e.min) / kBlock; left > 0; --left) {
    const int32_t next = add();
    call(less, to);
    call(full, next);
    from = next;
  }
  build(*repeat(part, 0, (e.max - e.min) % kBlock), from, to);
}

// Before part i: `none` when nothing is there yet, `some` behind something; `here` is where part i
// begins.
void Nfa::build_list(const Expr& e, int32_t from, int32_t to) {
  int32_t none = add(), some = -1;
  silent(from, none);
  for (size_t i = 0; i < e.parts.size(); ++i) {
    const int32_t here = add(), behind = add();
    if (none >= 0) silent(none, here);
    if (some >= 0) build(*e.separator, some, here);
    build(*e.parts[i], here, behind);
    if (e.required[i])
      none = -1;
    else if (some >= 0)
      silent(some, behind);
    some = behind;
  }
  if (e.more) {
    const int32_t here = add(), behind = add();
    if (none >= 0) silent(none, here);
    if (some >= 0) build(*e.separator, some, here);
    build(*e.more, here, behind);
    build(*e.separator, behind, here);
    silent(behind, to);
  }
  if (none >= 0) silent(none, to);
  if (some >= 0) silent(some, to);
}

void Nfa::build_combined(const Expr& e, int32_t from, int32_t to) {
  const Fsm a = Nfa().determinized(*e.parts[0]), b = Nfa().determinized(*e.parts[1]);
  const Fsm both = combined(a, b, e.kind == Expr::Kind::intersect);
  const auto base = static_cast<int32_t>(states_.size());
  for (size_t i = 0; i < both.states.size(); ++i) add();
  silent(from, base);
  for (size_t i = 0; i < both.states.size(); ++i) {
    const int32_t s = base + static_cast<int32_t>(i);
    for (const ByteEdge& edge : both.states[i].bytes)
      at(s).bytes.push_back({edge.first, edge.last, base + edge.to});
    if (both.states[i].final) silent(s, to);
  }
}

// States with edges alone (and the final one): others make no difference.
Nfa::Set Nfa::closure(Set set, int32_t final, bool& accepts) const {
  Set out;
  std::vector<int32_t> todo = std::move(set);
  std::vector<int32_t> seen = todo;
  std::ranges::sort(seen);
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  todo = seen;
  accepts = false;
  while (!todo.empty()) {
    const int32_t s = todo.back();
    todo.pop_back();
    const State& state = states_[static_cast<size_t>(s)];
    accepts = accepts || s == final;
    if (s == final || !state.bytes.empty() || !state.calls.empty()) out.push_back(s);
    for (const int32_t next : state.silent) {
      const auto it = std::ranges::lower_bound(seen, next);
      if (it != seen.end() && *it == next) continue;
      seen.insert(it, next);
      todo.push_back(next);
    }
  }
  std::ranges::sort(out);
  return out;
}

Fsm Nfa::determinized(const Expr& expr) {
  const int32_t start = add(), final = add();
  build(expr, start, final);
  Fsm out;
  std::map<Set, int32_t> ids;
  std::vector<Set> sets;
  const auto id_of = [&](Set set) {
    bool accepts = false;
    set = closure(std::move(set), final, accepts);
    const auto [it, added] = ids.emplace(std::move(set), static_cast<int32_t>(sets.size()));
    if (added) {
      if (sets.size() >= kMaxStates) too_large();
      sets.push_back(it->first);
      out.states.emplace_back().final = accepts;
    }
    return it->second;
  };
  id_of({start});
  for (size_t i = 0; i < sets.size(); ++i) {
    const Set set = sets[i];
    std::vector<ByteEdge> edges;
    std::map<int32_t, Set> calls;
    for (const int32_t s : set) {
      edges.insert(edges.end(), at(s).bytes.begin(), at(s).bytes.end());
      for (const CallEdge& c : at(s).calls) calls[c.rule].push_back(c.to);
    }
    std::bitset<257> cuts;
    for (const ByteEdge& e : edges) {
      cuts.set(e.first);
      cuts.set(size_t{e.last} + 1);
    }
    std::vector<ByteEdge> made;
    for (size_t first = 0; first < 256; ++first) {
      if (!cuts[first]) continue;
      size_t last = first;
      while (!cuts[last + 1] && last < 255) ++last;
      Set targets;
      for (const ByteEdge& e : edges)
        if (e.first <= first && e.last >= last) targets.push_back(e.to);
      if (targets.empty()) continue;
      const int32_t to = id_of(std::move(targets));
      if (!made.empty() && made.back().to == to && size_t{made.back().last} + 1 == first)
        made.back().last = static_cast<uint8_t>(last);
      else
        made.push_back({static_cast<uint8_t>(first), static_cast<uint8_t>(last), to});
    }
    std::vector<CallEdge> called;
    for (auto& [rule, targets] : calls) called.push_back({rule, id_of(std::move(targets))});
    out.states[i].bytes = std::move(made);
    out.states[i].calls = std::move(called);
  }
  trim(out, [](int32_t) { return true; });
  return out;
}

}  // namespace tokamak::guide

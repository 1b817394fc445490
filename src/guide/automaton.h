// Automata over bytes and calls of rules: built nondeterministic from expressions, made
// deterministic in bytes.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "guide/expr.h"

namespace tokamak::guide {

inline constexpr size_t kMaxStates = size_t{1} << 16;  // of one grammar, before and after

struct ByteEdge {
  uint8_t first = 0, last = 0;  // both included
  int32_t to = 0;
};
struct CallEdge {
  int32_t rule = 0, to = 0;
  auto operator<=>(const CallEdge&) const = default;
};

// State 0 is the start. No two byte edges of a state share a byte; they are sorted.
struct Fsm {
  struct State {
    std::vector<ByteEdge> bytes;
    std::vector<CallEdge> calls;
    bool final = false;
  };
  std::vector<State> states;
};

class Nfa {
 public:
  // What a mention of a rule becomes: the expression to copy there, or none and it is called.
  using Inline = std::function<ExprPtr(int32_t rule)>;
  // A rule of its own for an expression (long repetitions are cut into such).
  using NewRule = std::function<int32_t(ExprPtr)>;

  // Without new_rule: mentions of rules are an Error, repetitions are written out. Long ones are
  // while their states last, which are taken off `spare`.
  explicit Nfa(Inline inlined = {}, NewRule new_rule = {}, int64_t* spare = nullptr);
  Fsm determinized(const Expr& expr);  // only states that lead to the end

 private:
  struct State {
    std::vector<ByteEdge> bytes;
    std::vector<CallEdge> calls;
    std::vector<int32_t> silent;
  };
  using Set = std::vector<int32_t>;

  int32_t add();
  void build(const Expr& e, int32_t from, int32_t to);
  void build_sequence(const Expr& e, int32_t from, int32_t to);
  void build_literal(const Expr& e, int32_t from, int32_t to);
  void build_chars(const CharSet& set, int32_t from, int32_t to);
  void build_repeat(const Expr& e, int32_t from, int32_t to);
  void build_long_repeat(const Expr& e, int32_t from, int32_t to);
  void build_list(const Expr& e, int32_t from, int32_t to);
  void build_combined(const Expr& e, int32_t from, int32_t to);
  void silent(int32_t from, int32_t to) { at(from).silent.push_back(to); }
  State& at(int32_t s) { return states_[static_cast<size_t>(s)]; }
  Set closure(Set set, int32_t final, bool& accepts) const;

  Inline inlined_;
  NewRule new_rule_;
  int64_t* spare_;
  std::vector<State> states_;
  std::map<std::tuple<int32_t, int, int>, int32_t> suffixes_;  // (to, bytes) -> a state before it
  std::map<const Expr*, std::pair<int32_t, int32_t>> blocks_;  // rules of long repetitions
};

// States from which the end can be reached, the others' edges gone. `ends(rule)`: whether a call
// of it can return.
void trim(Fsm& fsm, const std::function<bool(int32_t rule)>& ends);

}  // namespace tokamak::guide

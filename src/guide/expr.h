// What a grammar says, before it becomes an automaton: expressions over characters and bytes, and
// rules that refer to each other.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tokamak::guide {

struct CharRange {
  char32_t first = 0, last = 0;  // both included
  bool operator==(const CharRange&) const = default;
};
using CharSet = std::vector<CharRange>;

inline constexpr char32_t kMaxChar = 0x10FFFF;
inline constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

// Sorted, disjoint, without neighbours and surrogates.
CharSet normalized(CharSet set);
CharSet complement(const CharSet& set);
CharSet intersection(const CharSet& a, const CharSet& b);
uint64_t count(const CharSet& set);

struct Expr;
using ExprPtr = std::shared_ptr<const Expr>;

struct Expr {
  enum class Kind {
    literal,    // `text`, bytes as they are
    chars,      // one character of `set`, in UTF-8
    sequence,   // of `parts`
    choice,     // of `parts`; of none: nothing matches
    repeat,     // parts[0], min to max times
    rule,       // what rule `rule` says
    intersect,  // what both parts match; parts without rules
    minus,      // what parts[0] matches and parts[1] does not; parts without rules
    list,       // `parts` in this order, each but the required ones optional, then any number of
                // `more`; `separator` between what is there
  };
  Kind kind = Kind::sequence;
  std::string text;
  CharSet set;
  std::vector<ExprPtr> parts;
  int64_t min = 0, max = kUnbounded;
  int32_t rule = -1;
  std::vector<bool> required;  // of a list's parts
  ExprPtr separator, more;     // more: may be none
};

ExprPtr empty();
ExprPtr never();
ExprPtr literal(std::string_view text);
ExprPtr chars(CharSet set);
ExprPtr sequence(std::vector<ExprPtr> parts);
ExprPtr choice(std::vector<ExprPtr> parts);
ExprPtr repeat(ExprPtr part, int64_t min, int64_t max);
ExprPtr rule(int32_t id);
ExprPtr intersect(ExprPtr a, ExprPtr b);
ExprPtr minus(ExprPtr a, ExprPtr b);
bool is_never(const Expr& e);  // as it is written

struct Rule {
  std::string name;  // for messages
  ExprPtr expr;
  bool shared = false;  // called where it is used, never copied there
};

struct Rules {
  std::vector<Rule> rules;
  int32_t root = 0;
  int32_t add(std::string name, ExprPtr expr = nullptr, bool shared = false);
};

}  // namespace tokamak::guide
